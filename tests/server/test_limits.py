"""Every limit and timeout: with its reason, an option of the command line, and settable by route."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields, replace
from typing import Any

import click
import pytest

import fastws.config
from fastws import Limits, Request, Response, Route, Timeouts, serve
from fastws.cli.limits import LIMITS, TIMEOUTS, Setting, limits_of, timeouts_of
from fastws.cli.serve import serve as command
from fastws.config import SERVER_LIMITS, SERVER_TIMEOUTS, Settings
from fastws.connection.handlers import Handler, as_handler
from fastws.server.server import Server
from fastws.web.routes import Router
from tests.cli.helpers import fastws as run
from tests.kit import ManualLoop, RawClient
from tests.rows import all_rows

ALL = [
    *[(Limits, field.name) for field in fields(Limits)],
    *[(Timeouts, field.name) for field in fields(Timeouts)],
]
SERVER_ONLY = {*SERVER_LIMITS, *SERVER_TIMEOUTS}


def setting(kind: type, field: str) -> Setting:
    (found,) = [setting for setting in (LIMITS if kind is Limits else TIMEOUTS) if setting.field == field]
    return found


def test_it_has_its_reason_beside_it() -> None:
    lines = inspect.getsource(fastws.config).splitlines()
    with all_rows() as row:
        for _, field in ALL:
            with row(field):
                (position,) = [at for at, line in enumerate(lines) if line.startswith(f"    {field}: ")]
                comment = lines[position - 1].strip()
                assert comment.startswith("#: ") and len(comment) > 30


def test_it_is_an_option_of_the_command_line() -> None:
    help_text = run("serve", "--help").stdout
    with all_rows() as row:
        for kind, field in ALL:
            with row(field):
                option = setting(kind, field)
                shown = rf"{option.option} {option.unit}\s[^\[]*\[(?:default:\s+([\d.]+);\s+)?x>="
                found = re.search(shown, help_text)
                assert found is not None
                assert (None if found[1] is None else float(found[1])) == getattr(kind(), field)


def test_the_option_sets_it() -> None:
    with all_rows() as row:
        for kind, field in ALL:
            with row(field):
                the_option_sets(kind, field)


def the_option_sets(kind: type, field: str) -> None:
    for value in ("7", "0"):
        line = [setting(kind, field).option, value]
        if kind is Limits and value == "0":
            with pytest.raises(click.BadParameter):
                command.make_context("serve", line)
            continue
        options = command.make_context("serve", line).params
        made: Any = limits_of(options) if kind is Limits else timeouts_of(options)
        assert made == replace(kind(), **{field: 7 if value == "7" else None})


def test_a_route_has_its_own_or_says_that_it_cannot() -> None:
    with all_rows() as row:
        for kind, field in ALL:
            with row(field):
                a_route_has_its_own(kind, field)


def a_route_has_its_own(kind: type, field: str) -> None:
    name = "limits" if kind is Limits else "timeouts"
    route = Route("/", Handler(), **{name: {field: 7}})
    if field in SERVER_ONLY:
        with pytest.raises(ValueError, match=f"{field} of route '/'"):
            Router([route], Settings(), as_handler)
        return
    (endpoint,) = Router([route], Settings(), lambda handler: handler).endpoints
    assert getattr(getattr(endpoint, name), field) == 7


@pytest.mark.parametrize("server", [500, 50, 5])
def test_the_body_of_a_route_has_the_limit_of_the_route(loop: ManualLoop, server: int) -> None:
    """Whether the server's own is above it, the same or below."""

    def size(request: Request) -> Response:
        return Response(200, str(len(request.body)))

    async def start() -> Server:
        routes = [
            Route("/usual", http=size, methods=["POST"]),
            Route("/own", http=size, methods=["POST"], limits={"max_body_size": 50}),
        ]
        return await serve(routes, limits={"max_body_size": server})

    site: Server = loop.run(start())
    for path, limit in (("/usual", server), ("/own", 50)):
        for length in (limit, limit + 1):
            body = b"x" * length
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
            for field, data in ((f"Content-Length: {length}", body), ("Transfer-Encoding: chunked", chunks)):
                client = RawClient(site, loop)
                client.get(path, field, method="POST")
                client.send(data)
                loop.settle()
                answer = client.response()
                assert answer.status == (200 if length <= limit else 413)
                assert (answer.headers.get("connection") == "close") is (length > limit)
