"""Servers that do not do what the scenario is about: the run says so, and is not taken for a measurement."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from fastws.loadgen import Plan, Result, Scenario, run
from fastws.loadgen.errors import describe_errors
from fastws.loadgen.ramp import failures
from fastws.loadgen.thresholds import parse_threshold
from tests.loadgen.servers import Chat, echo, websockets_server

pytestmark = pytest.mark.live


def bench(url: str, scenario: str = "echo", **values: Any) -> Result:
    defaults = {"clients": 4, "duration": 0.3, "warmup": 0.1}
    return run(Plan(url=url, scenario=Scenario(scenario), **{**defaults, **values}))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"size": 1},
        {"size": 8},
        {"size": 300},
        {"size": 100_000},
        {"binary": True},
        {"depth": 8},
        {"rate": 200.0},
        {"deflate": True, "size": 500},
        {"message": '{"say":"{stamp}"}'},
        {"message": "the same of all"},
        {"merged_by": "\n"},
    ],
)
def test_an_answer_that_is_not_ones_own_is_an_error(values: dict[str, Any]) -> None:
    """A server that sends to all looks like a very fast echo server."""
    compression = "deflate" if values.get("deflate") else None
    with websockets_server(Chat(), compression=compression) as url:
        result = bench(url, **values)
    assert not result.ok
    assert [error.kind for error in result.errors] == ["foreign"] * len(result.errors) and result.errors
    assert "the server sends to all, which fanout and room measure" in result.errors[0].text
    assert result.reach is not None and result.reach <= 1


@pytest.mark.parametrize("values", [{"size": 0}, {"size": 1}, {"message": "hello"}, {"size": 100_000}])
def test_answers_of_an_echo_are_ones_own(values: dict[str, Any]) -> None:
    with websockets_server(echo) as url:
        result = bench(url, **values)
    assert result.ok and result.errors == [] and result.reach == 1


def test_answers_that_come_twice_are_an_error() -> None:
    async def twice(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)
            await ws.send(message)

    with websockets_server(twice) as url:
        result = bench(url)
    assert "more answers came than messages were sent" in result.errors[0].text


def test_any_reply_takes_greetings_too() -> None:
    async def greeting(ws: ServerConnection) -> None:
        await ws.send("hello")
        async for _ in ws:
            await ws.send("thanks")

    with websockets_server(greeting) as url:
        result = bench(url, any_reply=True)
    assert result.errors == [] and result.other == 4


@pytest.mark.parametrize("scenario", ["echo", "fanout", "room"])
def test_a_server_that_takes_no_such_message_ends_the_run(scenario: str) -> None:
    """The duration is longer than a test may last."""
    with websockets_server(Chat(), max_size=1000) as url:
        result = bench(url, scenario, size=2000, duration=300.0, publishers=1)
    assert not result.ok and not result.measured
    assert result.errors[0].text.startswith("closed by the server with 1009 (")
    # With --until, this is why the step does not hold.
    assert failures(result, [parse_threshold("p99=1s")])[0].startswith("closed by the server with 1009")


def test_what_a_server_says_cannot_control_the_terminal() -> None:
    [error] = describe_errors([(5, 1008, 2)], "1008 no\x1b[31m\nfastws bench: 1 M messages/s")
    assert error.text == r"closed by the server with 1008 (no\x1b[31m\nfastws bench: 1 M messages/s)"
    [error] = describe_errors([(5, 1011, 2)], "1008 the reason of another close")
    assert error.text == "closed by the server with 1011"
