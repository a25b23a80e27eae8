"""The body of a response that is too large to hold: step by step, as the socket takes it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastws.protocol.http.messages import BodyStream

if TYPE_CHECKING:
    from fastws.connection.connection import Connection

__all__ = ["BodyPump"]

log = logging.getLogger("fastws.error")

#: Bytes read and written in one step.
STEP = 256 * 1024


class BodyPump:
    """Reads ``stream`` and writes it to ``connection``; ``done`` is called behind its last byte."""

    __slots__ = ("_connection", "_done", "_stream")

    def __init__(self, connection: Connection, stream: BodyStream, done: Callable[[], None]) -> None:
        self._connection = connection
        self._stream: BodyStream | None = stream
        self._done = done

    def step(self) -> None:
        """Write a step of the stream; the next one follows when the socket takes it."""
        connection = self._connection
        if self._stream is None or connection.outbox.blocked or connection.transport.is_closing():
            return
        try:
            chunk = self._stream.read(STEP)
        except OSError:
            log.exception("reading a body failed")
            connection.abort()
            return
        if not chunk:
            self.close()
            self._done()
            return
        connection.outbox.write_http(connection.machine.http.send_body(chunk))
        connection.outbox.flush()
        if not connection.outbox.blocked:
            connection.loop_state.call_soon(self.step)

    def close(self) -> None:
        """Let go of the stream, wherever it is; twice does no harm."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
