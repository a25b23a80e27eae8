"""One connection to a NATS server: what is sent over it, asked, heard, and how its end is noticed.

nats-py connects once and never again by itself: its own reconnection says "ok" to what it loses. So a line
that breaks ends, and the next one is another object. Whoever sends knows from :meth:`Line.flush` what has
arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.nats.url import Server, Servers

log = logging.getLogger("fastws.error")

__all__ = ["Line", "LineLost", "NoAnswer"]

#: A server that is silent for so many seconds is given up, and asked whether it is there so often.
SILENT_SECONDS, LOOK_SECONDS = 2.0, 1.0
#: Seconds for the answer of a stream: while it has no leader there is none.
ANSWER_SECONDS = 5.0
#: Servers before this one do not republish what a stream has taken, or give no message by its subject.
OLDEST = (2, 9)
#: Of the message "nobody listens to this subject".
NO_RESPONDERS = "503"


class LineLost(BrokerUnavailable):
    """The connection has ended, and what was under way may have arrived or not."""


class NoAnswer(BrokerUnavailable):
    """Nobody has answered, over a connection that is there: the stream is missing, or has no leader."""


class Opened(Client):
    """A client that does not go on in the clear where TLS was asked for, and says why it was not let in."""

    must_be_tls = False
    has_certificate = False

    async def _process_info(self, info: dict[str, Any], initial_connection: Any = None) -> None:
        if self.must_be_tls and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise nats.errors.Error("it does not speak TLS")
            info["tls_required"] = True
        if info.get("tls_verify") and not self.has_certificate:
            raise nats.errors.Error("it asks for a certificate: cert=FILE and key=FILE")
        await super()._process_info(info, bool(initial_connection))


class Line:
    """A connection. It ends once, with a reason.

    Args:
        label: The address of its server, for the log.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        loop = asyncio.get_running_loop()
        #: Why it has ended.
        self.lost: asyncio.Future[str] = loop.create_future()
        self._client = Opened()
        self._inbox = ""
        self._numbers = itertools.count()
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._error = ""
        self._subscriptions: set[Any] = set()

    # -- the connection -------------------------------------------------------------------------

    @classmethod
    async def open(cls, servers: Servers, server: Server, timeout: float) -> Line:
        """Connect to one server.

        Raises:
            BrokerUnavailable: It is not there, does not answer in time, lets us not in, or is too old.
        """
        line = cls(server.label)
        line._client.must_be_tls = server.is_tls
        line._client.has_certificate = server.is_tls and servers.has_certificate
        try:
            await asyncio.wait_for(line._connect(servers, server), timeout)
        except TimeoutError:
            await line.close()
            raise BrokerUnavailable(f"{server.label} does not answer") from None
        except nats.errors.NoServersError:
            raise BrokerUnavailable(f"{server.label}: {line._error}") from None
        except (OSError, ValueError, nats.errors.Error) as error:
            await line.close()
            raise BrokerUnavailable(f"{server.label}: {_text(error)}") from None
        except asyncio.CancelledError:
            line.abort("nobody waits any more")
            raise
        version = line._client.connected_server_version
        if (version.major, version.minor) < OLDEST:
            await line.close()
            text = f"{version.major}.{version.minor}.{version.patch}"
            raise BrokerUnavailable(f"{server.label} is NATS {text}, and fastws needs 2.9 or newer")
        return line

    async def _connect(self, servers: Servers, server: Server) -> None:
        await self._client.connect(
            server.url,
            name="fastws",
            allow_reconnect=False,
            # A second attempt at once, then it gives up: who connects knows other servers.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=SILENT_SECONDS,  # type: ignore[arg-type]
            ping_interval=60,
            error_cb=self._failed,
            closed_cb=self._closed,
            **servers.options(server),
        )
        for name in ("_reading_task", "_flusher_task", "_ping_interval_task"):
            # Where a line breaks its end is told by `lost`, and not by what these raise.
            getattr(self._client, name).add_done_callback(_look_at)
        self._inbox = self._client.new_inbox()
        await self.subscribe(f"{self._inbox}.*", self._answered)

    async def _failed(self, error: Exception) -> None:
        text = _text(error)
        if isinstance(error, nats.errors.SlowConsumerError):
            self.abort("too much came at once")
        elif "permissions violation" in text.lower():
            log.error("broker %s: %s", self.label, text)
        else:
            self._error = text

    async def _closed(self) -> None:
        self._end(self._error or "the connection was closed")

    def _end(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
        # nats-py leaves their tasks behind where it fails at its own goodbye.
        for subscription in self._subscriptions:
            subscription._stop_processing()
        self._subscriptions.clear()
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_exception(LineLost(f"{self.label}: {reason}"))
                answer.exception()  # it may be that nobody waits

    def abort(self, reason: str) -> None:
        """End it at once: a server that has stopped takes no goodbye."""
        self._end(reason)
        writer = getattr(self._client._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def close(self) -> None:
        """End it, and hand over what was sent before, for half a second at most."""
        with suppress(Exception):
            await asyncio.wait_for(self._client.close(), 0.5)
        self.abort("closed")

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message, with its headers."""
        return int(self._client.max_payload)

    @property
    def has_streams(self) -> bool:
        """True where JetStream is on."""
        return bool(self._client._server_info.get("jetstream"))

    # -- what is sent, and what is heard ---------------------------------------------------------

    async def subscribe(self, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> Any:
        """Have ``heard`` called with each message, one after the other; return what :meth:`leave` takes."""
        subscription = await self._guarded(self._client.subscribe(subject, cb=heard))
        self._subscriptions.add(subscription)
        return subscription

    async def leave(self, subscription: Any) -> None:
        """Hear it no more."""
        self._subscriptions.discard(subscription)
        with suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()

    async def send(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Send a message. Raises :class:`LineLost`."""
        await self._guarded(
            self._client.publish(subject, payload, reply, None if headers is None else dict(headers))
        )

    async def flush(self) -> None:
        """Wait until all that was sent before has arrived. Raises :class:`LineLost`."""
        try:
            await self._guarded(self._client.flush(SILENT_SECONDS))  # type: ignore[arg-type]
        except nats.errors.FlushTimeoutError:
            self.abort(f"no answer within {SILENT_SECONDS:g} s")
            raise LineLost(f"{self.label}: no answer within {SILENT_SECONDS:g} s") from None

    async def ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Msg]:
        """Send a question, in the order of the calls; return its answer. Raises :class:`LineLost`."""
        number = str(next(self._numbers))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self.send(subject, payload, headers, f"{self._inbox}.{number}")
        return answer

    async def wait(self, answer: asyncio.Future[Msg], seconds: float | None = None) -> Msg:
        """Return an answer. Raises :class:`LineLost` and :class:`NoAnswer`."""
        seconds = ANSWER_SECONDS if seconds is None else seconds
        try:
            found = await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            raise NoAnswer(f"{self.label}: no answer of a stream within {seconds:g} s") from None
        if found.headers and found.headers.get("Status") == NO_RESPONDERS:
            raise NoAnswer(f"{self.label}: nobody answers")
        return found

    async def request(
        self, subject: str, question: Mapping[str, object] | None = None, seconds: float | None = None
    ) -> dict[str, Any]:
        """Ask the JetStream API, and return what it says. Raises :class:`LineLost` and :class:`NoAnswer`."""
        payload = b"" if question is None else json.dumps(question).encode()
        found = await self.wait(await self.ask(f"$JS.API.{subject}", payload), seconds)
        said: dict[str, Any] = json.loads(found.data)
        return said

    async def _answered(self, message: Msg) -> None:
        answer = self._answers.pop(message.subject.rpartition(".")[2], None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def _guarded(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except nats.errors.FlushTimeoutError:
            raise
        except (nats.errors.Error, OSError, AttributeError, AssertionError) as error:
            # nats-py has no transport any more where it fails with the last two.
            self.abort(_text(error) or "the connection was closed")
            raise LineLost(f"{self.label}: {_text(error)}") from None


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def _text(error: BaseException) -> str:
    if isinstance(error, nats.errors.UnexpectedEOF):
        return "the connection was closed"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error}"
    text = str(error).removeprefix("nats: ").strip("'\" \r\n")
    return text or type(error).__name__
