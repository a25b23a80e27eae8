"""``--auth-basic`` and ``--auth-token``: who may open a WebSocket, and that no log tells how."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.helpers import Child, Result, running
from tests.live.raw import Peer, upgrade

pytestmark = pytest.mark.live


class Answer(NamedTuple):
    status: int
    head: bytes
    body: bytes


class Server(NamedTuple):
    child: Child

    def ask(self, path: str, *fields: str) -> Answer:
        with Peer(int(self.child.address().rpartition(":")[2])) as peer:
            peer.send(upgrade(path, *fields))
            head = peer.head()
            if head.startswith(b"HTTP/1.1 101 "):
                return Answer(101, head, b"")
            body = bytes(peer.exchange(b"").data)
            return Answer(int(head.split()[1]), head, body)


@contextmanager
def served(folder: Path, *args: str, **env: str) -> Iterator[Server]:
    with running(folder, "serve", "--port", 0, *args, **env) as child:
        yield Server(child)
        assert child.stop() == 0
        assert "Traceback" not in child.stderr()


def basic(text: str) -> str:
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode()


def test_a_user_and_a_password(tmp_path: Path) -> None:
    args = ["--auth-basic", "ann:pass:word", "--auth-basic", "bob:"]
    with served(tmp_path, *args) as server:
        for good in ("ann:pass:word", "bob:"):
            assert server.ask("/echo", basic(good)).status == 101
        refused = [
            server.ask("/echo", *fields)
            for fields in ([], [basic("ann:wrong-word")], [basic("eve:pass:word")], [basic("ann")])
        ]
        for answer in refused:
            assert answer.status == 401 and answer.body
            assert b'www-authenticate: basic realm="fastws"' in answer.head.lower()
            assert b"connection: close" in answer.head.lower()
        # The same words, whatever was wrong.
        assert len({answer.body for answer in refused}) == 1
    log = server.child.stdout() + server.child.stderr()
    assert '"GET /echo HTTP/1.1" 401' in log
    assert not any(secret in log for secret in ("pass:word", "wrong-word", basic("ann:pass:word")[-8:]))


def test_a_token_in_a_header_or_in_the_query(tmp_path: Path) -> None:
    with served(tmp_path, FASTWS_AUTH_TOKEN="first-secret second-secret") as server:
        assert server.ask("/echo", "Authorization: Bearer first-secret").status == 101
        assert server.ask("/echo?a=1&token=second-secret").status == 101
        for path, *fields in (
            ["/echo"],
            ["/echo?token=guessed-secret"],
            ["/echo?token=first-secret", "Authorization: Bearer guessed-secret"],
        ):
            answer = server.ask(path, *fields)
            assert answer.status == 401 and answer.body
            assert b"www-authenticate: bearer" in answer.head.lower()
    log = server.child.stdout() + server.child.stderr()
    assert '"GET /echo?token=*** HTTP/1.1" 401' in log
    assert "secret" not in log


APP = """
from fastws import Handler, Response, Route

routes = [
    Route("/asks", Handler(), http=lambda request: Response(200, "open")),
    Route("/own", Handler(), authorize=lambda request: None),
]
"""


def test_a_route_with_its_own_rule_keeps_it_and_pages_stay_open(tmp_path: Path) -> None:
    (tmp_path / "the_app.py").write_text(APP)
    with served(tmp_path, "the_app:routes", "--auth-token", "secret") as server:
        assert server.ask("/asks").status == 401
        assert server.ask("/own").status == 101
        with Peer(int(server.child.address().rpartition(":")[2])) as peer:
            peer.send(b"GET /asks HTTP/1.1\r\nHost: x\r\n\r\n")
            assert peer.response()[1] == b"open"


@pytest.mark.parametrize(
    "args",
    [
        ["--auth-basic", "no-colon-secret"],
        ["--auth-token", ""],
        ["--auth-token", "a-secret", "--auth-basic", "ann:secret"],
    ],
)
def test_what_cannot_be_is_wrong_usage_and_names_no_secret(
    fastws_here: Callable[..., Result], args: list[str]
) -> None:
    done = fastws_here("serve", "--port", "0", *args)
    assert done.returncode == 2
    assert "--auth-" in done.stderr
    assert "secret" not in done.stderr + done.stdout
