"""CONNECT and its answer, wherever it is cut."""

from __future__ import annotations

import pytest

from fastws.protocol.http.connect import MAX_BODY_SIZE, Tunnel


def test_the_request() -> None:
    head = b"CONNECT server.test:443 HTTP/1.1\r\nHost: server.test:443\r\n"
    assert Tunnel("server.test:443").request == head + b"\r\n"
    assert Tunnel("server.test:443", "Basic x").request == head + b"Proxy-Authorization: Basic x\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_refusal_in_pieces(size: int) -> None:
    data = b"HTTP/1.1 407 No\r\nContent-Length: 4\r\nX-Why: so\r\n\r\nbody"
    tunnel = Tunnel("a:1")
    answers = [tunnel.receive(data[start : start + size]) for start in range(0, len(data), size)]
    response = answers[-1]
    assert response is not None
    assert answers[:-1] == [None] * (len(answers) - 1)
    assert (response.status, response.body, response.headers["x-why"]) == (407, b"body", "so")


def test_an_interim_answer_is_passed_over() -> None:
    tunnel = Tunnel("a:1")
    assert tunnel.receive(b"HTTP/1.1 100 Continue\r\n\r\n") is None
    response = tunnel.receive(b"HTTP/1.1 200 OK\r\n\r\n")
    assert response is not None
    assert response.status == 200
    assert not tunnel.surplus


def test_a_refusal_that_breaks_off_or_never_ends_is_one_all_the_same() -> None:
    tunnel = Tunnel("a:1")
    assert tunnel.receive(b"HTTP/1.1 502 X\r\nContent-Length: 9\r\n\r\npart") is None
    response = tunnel.receive(b"")
    assert response is not None
    assert (response.status, response.body) == (502, b"part")
    endless = Tunnel("a:1").receive(b"HTTP/1.1 502 X\r\n\r\n" + b"x" * (MAX_BODY_SIZE + 9))
    assert endless is not None
    assert len(endless.body) == MAX_BODY_SIZE


def test_what_comes_behind_the_answer_is_none() -> None:
    refused = Tunnel("a:1")
    assert refused.receive(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") is not None
    assert refused.receive(b"") is None
    stands = Tunnel("a:1")
    assert stands.receive(b"HTTP/1.1 200 OK\r\n\r\n") is not None
    assert stands.receive(b"too early") is None
    assert stands.surplus


def test_what_is_no_answer() -> None:
    with pytest.raises(ValueError, match=r"not HTTP/1\.1"):
        Tunnel("a:1").receive(b"nonsense\r\n\r\n")
    with pytest.raises(ValueError, match=r"not HTTP/1\.1"):
        Tunnel("a:1").receive(b"x" * 20_000)
    with pytest.raises(ValueError, match="cannot be the value"):
        Tunnel("a:1", "Basic\r\nX: y")
