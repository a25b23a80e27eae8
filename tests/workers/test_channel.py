"""The control pair of a worker, without processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from fastws.workers.control import Channel


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    one, other = (Channel(each) for each in socket.socketpair())
    yield one, other
    for each in (one, other):
        each.close()


def test_what_a_process_says_last_is_read_though_it_was_told_something_meanwhile(
    pair: tuple[Channel, Channel],
) -> None:
    supervisor, worker = pair
    worker.send("failed", text="no database", code=3)
    worker.close()
    reading, writing = os.pipe()
    supervisor.send("peer", [reading], worker=2)
    assert not supervisor.has_output
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")  # our copy of what it was sent is closed
    os.close(writing)
    (message,) = supervisor.receive()
    assert (message.kind, message.values) == ("failed", {"text": "no database", "code": 3})
    assert supervisor.ended
    supervisor.send("stop")
    assert not supervisor.has_output
