"""What an outbox writes to where the socket is not ours: the ``send`` of another framework.

An outbox has a host (its connection) and a transport. For a foreign WebSocket these are ``SinkHost`` and
``Sink``. The host encodes nothing: it gives each message to the sink, and the "bytes" that the outbox then
writes are empty and only say that there is something to send.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from fastws.connection.foreign import SINKS
from fastws.connection.outbox import Outbox
from fastws.loop.state import loop_state_of

if TYPE_CHECKING:
    from fastws.config import Limits
    from fastws.connection.publication import Publication

__all__ = ["CloseVerb", "SendVerb", "Sink", "SinkHost", "SinkTransport", "open_sink"]

log = logging.getLogger("fastws.error")

#: Seconds that a foreign WebSocket has to take the close of an eviction.
CLOSE_SECONDS = 5.0
#: The close code of an eviction: "violates its policy" (RFC 6455, section 7.4.1).
POLICY_VIOLATION = 1008
#: The frame variant of an outbox whose frames only its host can make.
OWN_VARIANT = -1

SendVerb = Callable[[Any], Awaitable[object]]
CloseVerb = Callable[[int, str], Awaitable[object]]


class SinkTransport(Protocol):
    """What an outbox needs of its transport."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...
    def abort(self) -> None: ...


class Sink:
    """The transport of an outbox: it passes messages to a framework's ``send``, one after the other.

    It refuses bytes from the first message on until ``send`` has returned for all that it was given.
    """

    def __init__(self, send: SendVerb, close: CloseVerb, held: Callable[[], int] | None) -> None:
        self._send = send
        self._close = close
        self._held = held
        self.loop = asyncio.get_running_loop()
        self._messages: deque[str | bytes] = deque()
        self._task: asyncio.Task[None] | None = None
        #: Why the topic's policy has ended this client; None while it has not.
        self._eviction: str | None = None
        self.outbox: Outbox

    def put(self, message: str | bytes) -> None:
        """Keep a message until the outbox writes."""
        self._messages.append(message)

    # -- what the outbox needs of its transport (SinkTransport) ---------------------------------

    def write(self, data: bytes) -> None:
        """Send the messages that were put; the outbox queues what follows until that is done."""
        self.outbox.pause()
        if self._task is None and self.outbox.is_open:
            self._task = self.loop.create_task(self._run())

    def get_write_buffer_size(self) -> int:
        """Return about how many bytes wait here, and behind ``send`` as far as that is known."""
        waiting = sum(map(len, self._messages))
        return waiting if self._held is None else waiting + self._held()

    def is_closing(self) -> bool:
        return not self.outbox.is_open

    def abort(self) -> None:
        self.end()

    async def sent(self) -> None:
        """Wait until everything that was written has been sent."""
        while self._task is not None:
            await asyncio.wait([self._task])

    # -- the end --------------------------------------------------------------------------------

    def end(self) -> None:
        """Leave every topic and send nothing more. The WebSocket stays as it is: it is not ours."""
        self._leave()
        self.outbox.discard()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def evict(self, reason: str) -> None:
        """As ``end``, and close the WebSocket: its client is too slow."""
        self._leave()
        self._eviction = reason
        if self._task is not None:
            self._task.cancel()
        else:
            self._task = self.loop.create_task(self._run())

    def _leave(self) -> None:
        self.outbox.is_open = False
        self.outbox.leave_topics()
        self._messages.clear()
        SINKS.discard(self)

    # -- the task that sends --------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._messages:
                await self._send(self._messages.popleft())
                if not self._messages:
                    # Takes the messages that came meanwhile, and then refuses again.
                    self.outbox.resume()
        except asyncio.CancelledError:
            if self._eviction is None:
                self.end()
                raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            # The client is gone: the application learns that from its own receive.
            log.debug("a subscriber is gone: %r", exc)
            self.end()
        finally:
            self._task = None
        if self._eviction is not None:
            await self._close_evicted(self._eviction)

    async def _close_evicted(self, reason: str) -> None:
        try:
            await asyncio.wait_for(self._close(POLICY_VIOLATION, reason), CLOSE_SECONDS)
        except Exception as exc:
            log.debug("a subscriber that was too slow could not be closed: %r", exc)


class SinkHost:
    """The host of an outbox that writes to a sink: what a connection is to any other outbox."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    # -- what the outbox needs of its host (``OutboxHost`` in connection/flow.py) --------------

    def encode_publication(self, publication: Publication) -> bytes:
        """Give the message to the sink; the empty bytes only make the outbox write."""
        self._sink.put(publication.message)
        return b""

    def evict(self, reason: str) -> None:
        self._sink.evict(reason)

    def slow(self) -> None:
        """The framework reads from its client as it likes."""

    def keep_fresh(self) -> None:
        """The socket is the framework's."""

    def drained(self) -> None:
        """No coroutine waits for a foreign outbox: the application's own ``send`` waits instead."""


def open_sink(
    send: SendVerb, close: CloseVerb, limits: Limits, held: Callable[[], int] | None = None
) -> Sink:
    """Return a sink with its outbox. Raises ``RuntimeError`` where no event loop runs.

    ``held`` says how many bytes ``send`` has taken that have not gone on. Default None: nobody knows.
    """
    sink = Sink(send, close, held)
    transport: SinkTransport = sink
    turn = loop_state_of(asyncio.get_running_loop()).turn
    sink.outbox = Outbox(SinkHost(sink), transport, turn, -1, limits)
    sink.outbox.frame_variant = OWN_VARIANT
    SINKS.add(sink)
    return sink
