"""The two streams of a prefix: that of histories, and that of keys. How they are made, asked and read.

``PREFIX-history`` takes ``PREFIX.h.NAME`` and ``PREFIX-keys`` takes ``PREFIX.k.NAME.…``. What they have taken
they say again on ``PREFIX.lh.…`` and ``PREFIX.lk.…``, with its number: what they refuse nobody hears.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from fastws.pubsub.brokers.base import ONCE_SECONDS, BrokerRefused, BrokerTopic, TopicKind
from fastws.pubsub.brokers.nats.client import Message
from fastws.pubsub.brokers.nats.failures import (
    LineLost,
    NoAnswer,
    code_of,
    failure_of,
    text_of_error,
)
from fastws.pubsub.brokers.nats.line import ANSWER_SECONDS, Line
from fastws.pubsub.brokers.nats.reader import EXPECTED, Raw, Reader, seconds_of

__all__ = ["EXPECTED", "OTHER_BYTES", "Ack", "Raw", "Stream", "WrongSequence", "once_id"]

log = logging.getLogger("fastws.error")

NANOSECONDS = 1_000_000_000
#: A history is kept for so much longer than its messages: so long the topic's epoch is known.
KEEP_SECONDS = 3600
#: Of the errors of JetStream: a stream that is not there, no message, another last number than expected.
NO_STREAM, NO_MESSAGE, WRONG_SEQUENCE = 10059, 10037, 10071
#: Another node was faster: the name is taken, and the stream has other settings; or its subjects are taken.
FASTER = (10058, 10065)
#: Another node may have set its settings back in the same moment: they are looked at again after so long.
ASK_SECONDS = 5.0
#: So often a consumer is asked for, and waited for so many seconds, before all patience goes into one more.
CONSUMER_ATTEMPTS, CONSUMER_SECONDS = 8, 0.5
EXPECTED_LINE = re.compile(rb"Nats-Expected-Last-Subject-Sequence: (\d+)\r\n")
#: When a stream was made that nats-server 2.9.0 to 2.9.14 is still making, for another node. A question for a
#: message of it ends such a server (by a nil pointer): so nobody asks before it is made.
NOT_MADE = "0001-01-01T00:00:00Z"
MAKING_ATTEMPTS, MAKING_SECONDS = 100, 0.05
#: Bytes of a message for its subject, its headers, and what stands around an item.
OTHER_BYTES = 8192
#: Seconds. What is kept for longer is kept for ever.
FOR_EVER = 10**9


class WrongSequence(Exception):
    """Somebody else has appended meanwhile."""


class Ack(NamedTuple):
    """What a stream says to a message."""

    sequence: int
    is_duplicate: bool


class Stream:
    """One of the streams, over all lines.

    Args:
        prefix: The prefix.
        letter: Of its subjects.
        kind: Of its topics.
        replicas: On how many servers it is.
    """

    def __init__(self, prefix: str, letter: str, kind: TopicKind, replicas: int) -> None:
        self.name = f"{prefix}-{'history' if kind is TopicKind.HISTORY else 'keys'}"
        self.subject = f"{prefix}.{letter}"
        self.said = f"{prefix}.l{letter}"
        self._kind = kind
        #: On how many servers it is. Where there is more than one they may take two messages behind the same.
        self.replicas = self._asked_replicas = replicas
        #: When it was made, as the server says: a stream that was deleted and made again has another time.
        self.made = ""
        self._line: Line | None = None
        self._max_bytes = 1024 * 1024 - OTHER_BYTES
        #: How many messages of a subject it keeps, and nanoseconds; 0: for ever, None: not known.
        self._most = 0
        self._age: int | None = None
        self._making = asyncio.Lock()
        self._asked_at = 0.0
        self._has_warned = False

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest item, by what the server of the last line has said."""
        return self._max_bytes

    @property
    def line(self) -> Line:
        """The line that is there. Raises :class:`LineLost`."""
        if self._line is None:
            raise LineLost("the broker is away")
        return self._line

    @property
    def is_there(self) -> bool:
        """True while there is a line."""
        return self._line is not None

    def use(self, line: Line | None) -> None:
        """Take another line; None: there is none."""
        self._line = line
        self.made = ""
        if line is not None:
            self._max_bytes = line.max_payload - OTHER_BYTES

    # -- its settings ---------------------------------------------------------------------------

    async def ensure(self, topic: BrokerTopic) -> None:
        """Have the stream, with room for a topic.

        Raises:
            BrokerRefused: It cannot be.
            LineLost: The broker is away.
            NoAnswer: Nobody answers for it, or nobody can do it now.
        """
        # One more: whether the oldest one counts is not always known.
        most = topic.history + (self.replicas > 1) if self._kind is TopicKind.HISTORY else 1
        age = topic.ttl + KEEP_SECONDS if self._kind is TopicKind.HISTORY else math.inf
        wanted = 0 if age > FOR_EVER else int(age * NANOSECONDS)
        async with self._making:
            now = asyncio.get_running_loop().time()
            is_known = self.made and now - self._asked_at < ASK_SECONDS
            if is_known and self._most >= most and self._age == _longer(self._age, wanted):
                return
            self._asked_at = now
            if not self.line.has_streams:
                raise BrokerRefused(f"{self.line.label} has no JetStream: start it with -js")
            self._most = max(self._most, most)
            self._age = _longer(self._age, wanted)
            await self._make()

    async def _make(self) -> None:
        said = await self._info()
        if code_of(said) == NO_STREAM:
            said = await self.line.request(f"STREAM.CREATE.{self.name}", self._settings())
            if code_of(said) in FASTER:
                again = await self._info()
                said = said if "error" in again else again
            elif said.get("created") == NOT_MADE:
                said = await self._info()
        if "error" in said:
            raise failure_of(said)
        config = said["config"]
        if (config.get("republish") or {}).get("dest") != f"{self.said}.>":
            raise BrokerRefused(f"the stream {self.name} is there, and was not made by fastws")
        theirs = config["max_msgs_per_subject"], config["max_age"]
        self._most = max(self._most, theirs[0])
        self._age = _longer(self._age, theirs[1])
        if (self._most, self._age) != theirs:
            config |= {"max_msgs_per_subject": self._most, "max_age": self._age}
            said = await self.line.request(f"STREAM.UPDATE.{self.name}", config)
            if "error" in said:
                raise failure_of(said)
        self.made = said["created"]
        self._compare(config["num_replicas"])

    def _compare(self, servers: int) -> None:
        """Go by the number of servers that the stream is on; say once where more are asked for."""
        if servers < self._asked_replicas and not self._has_warned:
            self._has_warned = True
            text = "broker: the stream %s was made with replicas=%d, and stays so: the URL has replicas=%d"
            log.warning(text, self.name, servers, self._asked_replicas)
        self.replicas = servers

    def _settings(self) -> dict[str, object]:
        return {
            "name": self.name,
            "subjects": [f"{self.subject}.>"],
            "retention": "limits",
            "discard": "old",
            "storage": "file",
            "num_replicas": self._asked_replicas,
            "max_msgs_per_subject": self._most,
            "max_age": self._age,
            "duplicate_window": ONCE_SECONDS * NANOSECONDS,
            "republish": {"src": f"{self.subject}.>", "dest": f"{self.said}.>"},
        }

    async def _info(self) -> dict[str, Any]:
        """Return what the server says of the stream when it is made, or why there is none.

        Raises:
            LineLost: The broker is away.
            NoAnswer: Nobody answers for it, or it is still being made after some seconds.
        """
        for _ in range(MAKING_ATTEMPTS):
            said = await self.line.request(f"STREAM.INFO.{self.name}")
            if said.get("created") != NOT_MADE:
                return said
            await asyncio.sleep(MAKING_SECONDS)
        raise NoAnswer(f"the stream {self.name} is still being made")

    async def last_sequence(self) -> int:
        """Return the number of the last message that it has taken.

        Raises:
            LineLost: The broker is away.
            NoAnswer: There is no such stream.
        """
        said = await self._info()
        if "error" in said:
            raise NoAnswer(text_of_error(said))
        self.made = said["created"]
        return int(said["state"]["last_seq"])

    # -- messages -------------------------------------------------------------------------------

    async def put(
        self, subject: str, data: bytes, *, expected: int | None = None, once: str = ""
    ) -> asyncio.Future[Message]:
        """Send a message to the stream; :meth:`taken` waits for what it says.

        Args:
            subject: Behind that of the stream.
            data: What it says.
            expected: The number that the last message of this subject has to have; 0: there is none.
            once: The id of a message that is taken once.
        """
        return await self.line.ask(f"{self.subject}.{subject}", data, _headers(expected, once))

    def put_now(
        self, subject: str, data: bytes, *, expected: int | None = None, once: str = ""
    ) -> asyncio.Future[Message] | None:
        """Do as :meth:`put`, at once; None where that cannot be."""
        if self._line is None:
            return None
        return self._line.ask_now(f"{self.subject}.{subject}", data, _headers(expected, once))

    async def taken(self, answer: asyncio.Future[Message]) -> Ack:
        """Return what the stream says to a message.

        Raises:
            WrongSequence: The last message of the subject has another number.
            BrokerRefused: The stream does not take it.
            LineLost: It may be taken, or not.
            NoAnswer: Nobody answers for the stream. After no time at all: nothing was taken.
        """
        line = self.line
        try:
            said = json.loads((await line.wait(answer)).data)
        except NoAnswer:
            self.made = ""
            raise
        error = said.get("error")
        if error is None:
            return Ack(said["seq"], said.get("duplicate", False))
        if error.get("err_code") == WRONG_SEQUENCE:
            raise WrongSequence
        raise failure_of(said)

    async def last(self, subject: str) -> Raw | None:
        """Return the last message of a subject, as the stream's leader has it; None: there is none."""
        return await self._get({"last_by_subj": f"{self.subject}.{subject}"})

    async def following(self, subject: str, sequence: int) -> Raw | None:
        """Return the first message of a subject that has this number or a larger one."""
        return await self._get({"next_by_subj": f"{self.subject}.{subject}", "seq": sequence})

    async def counts(self, subject: str, behind: int, sequence: int) -> bool:
        """True where a message stands where it was to stand, as far as the messages are kept."""
        if self.replicas == 1:
            return True
        raw = await self.following(subject, behind + 1)
        return raw is not None and raw.sequence == sequence

    async def at(self, sequence: int) -> Raw | None:
        """Return the message with that number."""
        return await self._get({"seq": sequence})

    async def _get(self, question: Mapping[str, object]) -> Raw | None:
        said = await self.line.request(f"STREAM.MSG.GET.{self.name}", question)
        if "error" in said:
            code = code_of(said)
            if code == NO_MESSAGE:
                return None
            if code == NO_STREAM:
                self.made = ""
                raise NoAnswer(text_of_error(said))
            raise failure_of(said)
        found = said["message"]
        data = base64.b64decode(found.get("data", ""))
        behind = EXPECTED_LINE.search(base64.b64decode(found.get("hdrs", "")))
        subject = found["subject"].removeprefix(self.subject + ".")
        behind_number = -1 if behind is None else int(behind[1])
        return Raw(found["seq"], subject, data, behind_number, time=seconds_of(found["time"]))

    async def read(self, filter: str) -> list[Raw]:
        """Return all messages of the subjects that a filter names, in their order.

        Raises:
            BrokerRefused: They may not be read.
            LineLost: The broker is away.
            NoAnswer: Nobody answers.
        """
        last = None if self.replicas == 1 else await self.last(filter)
        found, now = await self._read(filter)
        if last is None or (found and await self._is_as_leader_has_it(found[-1], last)):
            return found
        # Any server may have read, and this one is behind the leader, or has other numbers: nats-server
        # 2.9.10 may keep what was under way when a leader ended. The leader is asked, for one by one; what
        # comes meanwhile is heard.
        found = []
        raw = await self.following(filter, 1)
        while raw is not None and raw.sequence <= last.sequence:
            found.append(raw._replace(age=max(now - raw.time, 0.0)))
            raw = await self.following(filter, raw.sequence + 1)
        return found

    async def _is_as_leader_has_it(self, newest: Raw, last: Raw) -> bool:
        """True where a server that has read has the numbers of the leader, whose last message this was."""
        if newest.sequence < last.sequence:
            return False
        there = last if newest.sequence == last.sequence else await self.at(newest.sequence)
        return there is not None and (there.subject, there.data) == (newest.subject, newest.data)

    async def _read(self, filter: str) -> tuple[list[Raw], float]:
        """Return the messages as some server has them, and its time."""
        line = self.line
        reader = Reader(line, self.subject)
        inbox = line._client.new_inbox()
        heard = await line.subscribe(inbox, reader.take)
        consumer = ""
        try:
            said = await self._make_consumer(line, _reading(f"{self.subject}.{filter}", inbox))
            if "error" in said:
                raise failure_of(said)
            consumer = said["name"]
            reader.begin(said)
            return await reader.wait(), reader.now
        finally:
            await line.leave(heard)
            if consumer and not line.lost.done():
                with contextlib.suppress(LineLost):
                    await line.ask(f"$JS.API.CONSUMER.DELETE.{self.name}.{consumer}", b"")

    async def _make_consumer(self, line: Line, config: Mapping[str, object]) -> dict[str, Any]:
        """Ask for a consumer; of a cluster that may be given to a server that has just ended."""
        for _ in range(CONSUMER_ATTEMPTS - 1):
            with contextlib.suppress(NoAnswer):
                return await self._ask_for(line, config, CONSUMER_SECONDS)
        return await self._ask_for(line, config, ANSWER_SECONDS)

    async def _ask_for(self, line: Line, config: Mapping[str, object], seconds: float) -> dict[str, Any]:
        question = {"stream_name": self.name, "config": config}
        return await line.request(f"CONSUMER.CREATE.{self.name}", question, seconds)

    async def purge(self, filter: str, before: int) -> None:
        """Delete the messages of some subjects with smaller numbers. Nobody waits for it."""
        question = {"filter": f"{self.subject}.{filter}", "seq": before}
        await self.line.ask(f"$JS.API.STREAM.PURGE.{self.name}", json.dumps(question).encode())


def _headers(expected: int | None, once: str) -> dict[str, str]:
    headers = {}
    if expected is not None:
        headers[EXPECTED] = str(expected)
    if once:
        headers["Nats-Msg-Id"] = once
    return headers


def once_id(name: str, *parts: object) -> str:
    """Return an id of a message that its stream takes once."""
    text = "\0".join([name, *map(str, parts)])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _longer(one: int | None, other: int) -> int:
    """Return the longer one of two ages, of which 0 is for ever."""
    return other if one is None else one and other and max(one, other)


def _reading(filter: str, inbox: str) -> dict[str, object]:
    return {
        "deliver_policy": "all",
        "ack_policy": "none",
        "replay_policy": "instant",
        "filter_subject": filter,
        "deliver_subject": inbox,
        "max_deliver": 1,
        "flow_control": True,
        "idle_heartbeat": 2 * NANOSECONDS,
        "mem_storage": True,
        "num_replicas": 1,
    }
