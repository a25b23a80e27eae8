"""How a request's body comes, and what an application has taken of it."""

from __future__ import annotations

from fastws.asgi.request_body import ARRIVING, COMPLETE, TAKEN, RequestBody


def test_pieces_are_taken_together_and_more_is_to_come() -> None:
    body = RequestBody()
    body.add(b"one ")
    body.add(b"two")
    assert len(body) == 7
    assert body.take() == (b"one two", True)
    assert (len(body), body.state) == (0, ARRIVING)


def test_the_last_piece_is_the_last() -> None:
    body = RequestBody()
    body.add(b"all")
    body.end()
    assert body.state is COMPLETE
    assert body.take() == (b"all", False)
    assert body.state is TAKEN


def test_bytes_are_counted_while_a_deadline_runs() -> None:
    body = RequestBody()
    body.add(b"before")
    assert body.since_deadline is None
    body.since_deadline = 0
    body.add(b"behind")
    body.take()
    assert body.since_deadline == 6
