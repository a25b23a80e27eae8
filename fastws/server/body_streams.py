"""What sends a response that is a stream: a file and its like by callbacks, an async iterator by a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from fastws.loop.fatal import end_loop, is_cancelled, is_collected
from fastws.server.body_writer import BodyWriter

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.protocol.http.body_stream import BodyStream
    from fastws.protocol.http.messages import Response

__all__ = ["BodyPump", "IteratorPump", "close_stream"]

log = logging.getLogger("fastws.error")

#: Bytes of a stream that are read and written in one step.
STREAM_STEP_SIZE = 256 * 1024


class BodyPump:
    """Reads a stream and writes it to a connection, as its socket takes it; then calls ``done``."""

    __slots__ = ("_connection", "_done", "_stream", "written")

    #: Whether the socket is read meanwhile, so that the end of a client is seen that is sent nothing.
    reads_on = False

    def __init__(self, connection: Connection, stream: BodyStream, done: Callable[[], None]) -> None:
        self._connection = connection
        self._stream: BodyStream | None = stream
        self._done = done
        self.written = 0

    def begin(self) -> None:
        """Begin in the next turn."""
        self._connection.hold_input()
        self._connection.loop_state.call_soon(self.step)

    def step(self) -> None:
        """Write 256 KiB at most; the next step follows when the socket has taken them."""
        connection = self._connection
        if self._stream is None or connection.outbox.blocked or connection.transport.is_closing():
            return
        try:
            chunk = self._stream.read(STREAM_STEP_SIZE)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
            connection.abort()
            return
        except BaseException:
            # Part of the response is out: only the end of the connection can tell (RFC 9112, section 8).
            log.exception("reading a body failed")
            connection.abort()
            return
        if not chunk:
            self.close()
            self._done()
            return
        self.written += len(chunk)
        connection.outbox.write_http(connection.machine.http.send_body(chunk))
        connection.outbox.flush()
        if not connection.outbox.blocked:
            connection.loop_state.call_soon(self.step)

    def drained(self) -> None:
        """The socket has taken what it refused."""
        self.step()

    def server_stops(self) -> None:
        """A body of a known length has the time that the server gives."""

    def close(self) -> None:
        """Close the stream, wherever it is; twice does no harm."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class IteratorPump:
    """Writes what an async iterator yields, as the socket takes it; then calls ``done``. It has a task.

    The iterator is asked for the next piece when the socket holds nothing back. When the client leaves, or
    the server's time for a stop is over, the task is cancelled, and the iterator with it.

    Args:
        connection: where the head was written.
        iterator: yields ``bytes``, or ``str``, which is sent as UTF-8.
        done: is called when the whole body is written.
        name: whose body it is, for the log.
        tasks: holds the task while it runs.
    """

    __slots__ = ("_connection", "_done", "_is_told", "_iterator", "_name", "_task", "_tasks", "_writer")

    reads_on = True

    def __init__(
        self,
        connection: Connection,
        iterator: AsyncIterator[Any],
        done: Callable[[], None],
        name: str,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._connection = connection
        self._iterator = iterator
        #: None as soon as the body is not wanted any more.
        self._done: Callable[[], None] | None = done
        self._name = name
        self._tasks = tasks
        self._task: asyncio.Task[None] | None = None
        self._writer = BodyWriter(connection, 0)
        self._is_told = False

    @property
    def written(self) -> int:
        """Bytes of the body that were written."""
        return self._writer.written

    def begin(self) -> None:
        """Begin in the next turn."""
        self._connection.release_input()
        if getattr(self._iterator, "is_of_latest_values", False):
            # What the kernel took for a client that does not read would be old when it reads again.
            self._connection.keep_fresh()
        self._task = keep_task(self._run(), self._tasks)

    def drained(self) -> None:
        """The socket has taken what it refused."""
        self._writer.drained()

    def server_stops(self) -> None:
        """Tell an iterator that wants to know, once: one that has no end of its own ends now."""
        stops = getattr(self._iterator, "server_stops", None)
        if stops is None or self._is_told:
            return
        self._is_told = True
        try:
            stops()
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
        except BaseException:
            log.exception("server_stops of %s failed", self._name)

    def close(self) -> None:
        """Cancel the iterator: its body is not wanted any more. Does nothing after its end."""
        task, self._task = self._task, None
        self._done = None
        self._writer.end()
        if task is not None:
            task.cancel()

    async def _run(self) -> None:
        try:
            try:
                await self._send()
            finally:
                await close_iterator(self._iterator)
            if self._done is not None:
                self._writer.write(b"", more=False)
                self._ended()
        except (KeyboardInterrupt, SystemExit) as exc:
            self._cut()
            end_loop(exc)
        except BaseException as exc:
            if is_collected(exc):
                raise
            is_cancelled = isinstance(exc, asyncio.CancelledError)
            if self._done is not None or not is_cancelled:
                log.exception("the body of %s failed", self._name)
            self._cut()
            if is_cancelled:
                raise

    async def _send(self) -> None:
        async for piece in self._iterator:
            if self._done is None:
                return  # it has gone on where it was cancelled
            data = piece.encode() if isinstance(piece, str) else piece
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"a piece of a body is bytes or str, not {type(piece).__name__}")
            self._writer.write(bytes(data), more=True)
            await self._writer.writable(len(data))

    def _ended(self) -> None:
        done, self._done = self._done, None
        self._task = None
        self._writer.end()
        if done is not None:
            done()

    def _cut(self) -> None:
        if self._done is None:
            return
        self._task = None
        self._writer.cut()


def keep_task(coroutine: Any, tasks: set[asyncio.Task[None]]) -> asyncio.Task[None]:
    """Run a coroutine in a task that is in ``tasks`` while it runs."""
    task = asyncio.get_running_loop().create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


async def close_iterator(iterator: Any) -> None:
    """Close an async iterator that has ``aclose``, as generators do; it may have ended already."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()


async def close_stream(response: Response) -> None:
    """Close the stream of a response that nobody sends."""
    stream: Any = response.stream
    try:
        if response.has_iterator():
            await close_iterator(stream)
        elif stream is not None:
            stream.close()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:
        if is_cancelled(exc):
            raise
        log.exception("closing a body failed")
