"""What becomes of a connection whose plain request was refused, found by fuzzing."""

from __future__ import annotations

import pytest

from fastws import Response, Route, serve
from fastws.logs import peer_text
from fastws.server.server import Server
from tests.kit import ManualLoop, RawClient


@pytest.fixture
def client(loop: ManualLoop) -> RawClient:
    async def start() -> Server:
        return await serve([Route("/", http=lambda request: Response(200, "page"))])

    return RawClient(loop.run(start()), loop)


@pytest.mark.parametrize(("target", "method", "status"), [("/none", "GET", 404), ("/", "PUT", 405)])
def test_an_idle_connection_ends_after_a_refusal_too(
    loop: ManualLoop, client: RawClient, target: str, method: str, status: int
) -> None:
    client.get(target, method=method)
    loop.settle()
    assert client.response().status == status
    loop.advance(74.0)
    assert not client.transport.lost
    loop.advance(2.0)
    assert client.transport.lost


def test_a_body_that_breaks_behind_its_refusal_gets_no_second_answer(
    loop: ManualLoop, client: RawClient
) -> None:
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n=bad\r\n")
    loop.settle()
    assert [answer.status for answer in client.responses()] == [405]
    loop.advance(6.0)
    assert client.transport.lost
    assert not loop.errors


@pytest.mark.parametrize("sent", [b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_tls_on_a_port_without_tls_is_400_and_a_line(
    client: RawClient, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    client.send(sent)
    assert client.response().status == 400
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"{peer_text(client.transport.get_extra_info('peername'))} began TLS" in record.getMessage()


@pytest.mark.parametrize(
    "sent", [b"\x15\x03\x01", b"GET \x16 HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost:\x16"]
)
def test_other_octets_that_no_head_may_hold_are_400_without_it(
    client: RawClient, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    client.send(sent)
    assert client.response().status == 400
    assert not caplog.records


def test_a_body_that_begins_as_tls_does(client: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\x16\x03\x01\r\n")
    assert client.response().status == 400
    assert not caplog.records
