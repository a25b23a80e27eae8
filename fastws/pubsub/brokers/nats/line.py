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
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import nats.errors
from nats.protocol.command import hpub_cmd, pub_cmd

from fastws.errors import BrokerUnavailable
from fastws.loop.native import direct_descriptor, write_at_once
from fastws.pubsub.brokers.base import BrokerRefused
from fastws.pubsub.brokers.nats.client import Message, Opened, Reading
from fastws.pubsub.brokers.nats.failures import NOT_ALLOWED, LineLost, NoAnswer, text_of
from fastws.pubsub.brokers.nats.url import Server, Servers

log = logging.getLogger("fastws.error")

__all__ = ["Line"]

#: A server that is silent for so many seconds is given up, and asked whether it is there so often.
SILENT_SECONDS, LOOK_SECONDS = 2.0, 1.0
#: While so many bytes wait to be written, nothing is sent at once.
POST_BYTES = 64 * 1024
#: Seconds that nobody waits for: what waits is given up before.
FOR_LONG = 3600
#: Seconds for the answer of a stream: while it has no leader there is none.
ANSWER_SECONDS = 5.0
#: Servers before this one do not republish what a stream has taken, or give no message by its subject.
OLDEST = (2, 9)
#: Bytes that a message must be able to have: half of them is for what stands around it.
LEAST_PAYLOAD = 16384
#: Of the message "nobody listens to this subject".
NO_RESPONDERS = "503"


class Unfit(Exception):
    """A server of NATS that will not do; the text goes on behind its name."""


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
        #: Of its socket, where that may be written to directly.
        self._descriptor = -1
        self._inbox = ""
        self._numbers = itertools.count()
        #: By the number of the question: its subject, in small letters, and who waits.
        self._answers: dict[str, tuple[str, asyncio.Future[Message]]] = {}
        #: What the server has said to subjects that this user may not use, and how often.
        self._not_allowed: dict[str, int] = {}
        self._error = ""
        self._subscriptions: set[Any] = set()
        #: By subject, in small letters: what is called where this user may not hear it.
        self._refusals: dict[str, Callable[[str], None]] = {}

    # -- the connection -------------------------------------------------------------------------

    @classmethod
    async def open(cls, servers: Servers, server: Server, timeout: float) -> Line:
        """Connect to one server.

        Raises:
            BrokerUnavailable: It is not there, does not answer in time, lets us not in, or is too old.
        """
        line = cls(server.label)
        line._client.must_be_tls = server.is_tls
        line._client.has_certificate = servers.has_certificate
        try:
            await asyncio.wait_for(line._connect(servers, server), timeout)
        except asyncio.CancelledError:
            line.abort("nobody waits any more")
            raise
        except TimeoutError:
            await line.close()
            raise BrokerUnavailable(f"{server.label} does not answer") from None
        except nats.errors.NoServersError:
            await line.close()
            raise BrokerUnavailable(f"{server.label}: {line._error}") from None
        except Unfit as error:
            await line.close()
            raise BrokerUnavailable(f"{server.label} {error}") from None
        except Exception as error:
            await line.close()
            raise BrokerUnavailable(f"{server.label}: {text_of(error)}") from None
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
        streams: Any = self._client._transport
        self._descriptor = direct_descriptor(streams._io_writer.transport)
        Reading(self._client)
        self._inbox = self._client.new_inbox()
        self._check_server()
        answers = f"{self._inbox}.*"
        await self.subscribe(answers, self._answered)
        await self.flush()
        self.check_allowed(answers)

    def _check_server(self) -> None:
        """Raise :class:`Unfit` where it is of no use; anything where it is no server of NATS."""
        version, most = self._client.connected_server_version, self.max_payload
        if not version.major:
            raise ValueError("a server says its version")
        if (version.major, version.minor) < OLDEST:
            text = f"{version.major}.{version.minor}.{version.patch}"
            raise Unfit(f"is NATS {text}, and fastws needs 2.9 or newer")
        if most < LEAST_PAYLOAD:
            raise Unfit(f"has max_payload {most}, and fastws needs {LEAST_PAYLOAD} bytes or more")

    async def _failed(self, error: Exception) -> None:
        text = text_of(error)
        if NOT_ALLOWED.match(text):
            self._take_not_allowed(text)
        else:
            self._error = text

    def _take_not_allowed(self, text: str) -> None:
        """This user may not use a subject: a line of the log, and for who waits for an answer an error."""
        for subject, told in list(self._refusals.items()):
            if text == f'permissions violation for subscription to "{subject}"':
                self._not_allowed[text] = 1
                told(text)
                return
        count = self._not_allowed[text] = self._not_allowed.get(text, 0) + 1
        is_told = self._inbox.lower() in text  # it cannot be used at all, and who connects is told
        if str(count).strip("0") == "1" and not is_told:  # the first, the tenth, the hundredth …
            log.error("broker %s: %s%s", self.label, text, "" if count == 1 else f" ({count:,} times)")
        for number, (subject, answer) in list(self._answers.items()):
            if text == f'permissions violation for publish to "{subject}"':
                del self._answers[number]
                _fail(answer, BrokerRefused(text))

    def check_allowed(self, subject: str) -> None:
        """Raise :class:`BrokerRefused` where a subject that was subscribed to, and flushed, is not heard."""
        text = f'permissions violation for subscription to "{subject.lower()}"'
        if self._not_allowed.pop(text, 0):  # it may be allowed at the next attempt
            raise BrokerRefused(text)

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
        for _, answer in answers.values():
            _fail(answer, LineLost(f"{self.label}: {reason}"))

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

    async def subscribe(
        self, subject: str, heard: Callable[[Message], None], refused: Callable[[str], None] | None = None
    ) -> Any:
        """Have ``heard`` called with each message, one after the other; return what :meth:`leave` takes.

        ``refused`` is called with what the server says where this user may not hear it. Default: the log.
        """
        if refused is not None:
            self._refusals[subject.lower()] = refused
        self._client.heard[self._client._sid + 1] = heard  # so the next subscription is called
        subscription = await self._guarded(self._client.subscribe(subject))
        self._subscriptions.add(subscription)
        return subscription

    async def leave(self, subscription: Any) -> None:
        """Hear it no more."""
        self._subscriptions.discard(subscription)
        self._client.heard.pop(subscription._id, None)
        with suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()

    async def send(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Send a message. Raises :class:`LineLost`."""
        await self._guarded(
            self._client.publish(subject, payload, reply, None if headers is None else dict(headers))
        )

    def post(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> bool:
        """Send a message at once; False: others wait to be sent, or the server does not read, or is gone.

        What the library does besides is checked by whoever calls this: how large a message may be.
        """
        client = self._client
        writer = getattr(client._transport, "_io_writer", None)
        if client._pending or writer is None or not client.is_connected or self.lost.done():
            return False
        transport = writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > POST_BYTES:
            return False
        if headers:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            head = f"NATS/1.0\r\n{lines}\r\n".encode()
            command = hpub_cmd(subject, reply, head, payload)
        else:
            command = pub_cmd(subject, reply, payload)
        write_at_once(transport, self._descriptor, command)
        return True

    async def flush(self) -> None:
        """Wait until all that was sent before has arrived. Raises :class:`LineLost`."""
        answered = asyncio.ensure_future(self._guarded(self._flush()))
        try:
            # nats-py lets who waits for a PONG wait on when the connection has ended.
            await asyncio.wait(
                (answered, self.lost), timeout=SILENT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if answered.done():
                answered.result()
                return
            if not self.lost.done():
                self.abort(f"no answer within {SILENT_SECONDS:g} s")
            raise LineLost(f"{self.label}: {self.lost.result()}")
        finally:
            answered.cancel()

    async def _flush(self) -> None:
        # The PING of nats-py overtakes what it has not written yet.
        queue, flusher = self._client._flush_queue, self._client._flusher_task
        if queue is not None and flusher is not None and not flusher.done():
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            await queue.put(written)
            await written
        await self._client.flush(FOR_LONG)

    async def ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Message]:
        """Send a question, in the order of the calls; return its answer. Raises :class:`LineLost`."""
        number, answer = self._question(subject)
        await self.send(subject, payload, headers, f"{self._inbox}.{number}")
        return answer

    def ask_now(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Message] | None:
        """Send a question at once and return its answer; None where :meth:`post` does not send it."""
        number, answer = self._question(subject)
        if self.post(subject, payload, headers, f"{self._inbox}.{number}"):
            return answer
        del self._answers[number]
        return None

    def _question(self, subject: str) -> tuple[str, asyncio.Future[Message]]:
        number = str(next(self._numbers))
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = (subject.lower(), answer)
        return number, answer

    async def wait(self, answer: asyncio.Future[Message], seconds: float | None = None) -> Message:
        """Return an answer. Raises :class:`LineLost`, :class:`NoAnswer` and :class:`BrokerRefused`."""
        seconds = ANSWER_SECONDS if seconds is None else seconds
        try:
            found = await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            raise NoAnswer(f"{self.label}: no answer of a stream within {seconds:g} s") from None
        if found.headers.get("Status") == NO_RESPONDERS:
            raise NoAnswer(f"{self.label}: nobody answers")
        return found

    async def request(
        self, subject: str, question: Mapping[str, object] | None = None, seconds: float | None = None
    ) -> dict[str, Any]:
        """Ask the JetStream API, and return what it says. Raises as :meth:`wait` does."""
        payload = b"" if question is None else json.dumps(question).encode()
        found = await self.wait(await self.ask(f"$JS.API.{subject}", payload), seconds)
        said: dict[str, Any] = json.loads(found.data)
        return said

    def _answered(self, message: Message) -> None:
        _, answer = self._answers.pop(message.subject.rpartition(".")[2], ("", None))
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def _guarded(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except (nats.errors.Error, OSError, AttributeError, AssertionError) as error:
            # nats-py has no transport any more where it fails with the last two.
            is_gone = isinstance(error, AttributeError | AssertionError)
            text = "the connection was closed" if is_gone else text_of(error)
            self.abort(text)
            raise LineLost(f"{self.label}: {text}") from None


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def _fail(answer: asyncio.Future[Message], error: BrokerUnavailable) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # it may be that nobody waits
