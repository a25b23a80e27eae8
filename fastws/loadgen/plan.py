"""The plan of a run, checked before a connection opens."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

__all__ = ["LoadgenError", "Plan", "PlanError", "Scenario"]

#: Bytes of a stamp: a mark and the digits with which a message of a fan-out says when it was due.
STAMP_SIZE = 9
#: Stands for the stamp in a message of the user's own.
STAMP_FIELD = "{stamp}"
#: Headers whose values no report repeats, and what it shows instead.
SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")
HIDDEN = "..."


class LoadgenError(Exception):
    """The run cannot begin, or there is nothing to report. The text is one sentence for the user."""


class PlanError(LoadgenError, ValueError):
    """The plan contradicts itself."""


class Scenario(StrEnum):
    """What the clients do."""

    #: Each client sends and waits for its own message to come back.
    ECHO = "echo"
    #: Some clients publish, and all clients receive every message.
    FANOUT = "fanout"
    #: All clients send one message and receive all of them; then the next round begins.
    ROOM = "room"
    #: Clients open a connection, close it, and open the next.
    CONNECT = "connect"
    #: Clients open a connection and hold it.
    IDLE = "idle"
    #: Each client does what the steps of a script say.
    SCRIPT = "script"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run against one server.

    Without ``rate`` a run is a closed loop: the next message waits for the answer to an earlier one. With
    ``rate`` it is an open loop: each message is due at a fixed time, whatever the server does, and its
    latency counts from that time.

    Raises:
        PlanError: A value is out of range, or two do not fit together.
    """

    url: str
    scenario: Scenario
    #: Other URLs of the same server or cluster: clients take them and ``url`` in turn.
    more_urls: tuple[str, ...] = ()
    #: The text of the script (`fastws.loadgen.script`). In a report: what identifies it.
    script: str | None = None
    #: Seconds over which the clients begin to open, evenly. 0: as fast as ``at_once`` lets them.
    ramp: float = 0.0
    #: Connections of all processes together. For `connect`: how many of them connect at the same time.
    clients: int = 100
    #: Fan-out: how many of the clients publish. They take turns.
    publishers: int = 1
    #: Echo: messages that each client has outstanding.
    depth: int = 1
    #: Fan-out: messages outstanding in all; each is until all clients have received it.
    window: int = 1
    #: Messages (rounds, connections) a second of all clients together. None: a closed loop.
    rate: float | None = None
    #: Bytes of a message, before compression.
    size: int = 64
    #: The message to send, in place of one of ``size`` bytes. ``{stamp}`` in it becomes the time it was due.
    message: str | None = None
    #: Send binary messages and not text.
    binary: bool = False
    #: Seconds that are measured.
    duration: float = 10.0
    #: Seconds before them, which send and do not count.
    warmup: float = 1.0
    #: Generator processes. Each needs a core of its own.
    processes: int = 1
    #: Demand permessage-deflate (RFC 7692) and compress all messages.
    deflate: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    origin: str | None = None
    #: Do not verify the server's certificate.
    insecure: bool = False
    #: The ASCII character between messages that the server merges into one. None: it merges none.
    merged_by: str | None = None
    #: The server does not send a message back to its sender.
    to_others: bool = False
    #: Each received message counts as an answer, also one of another size than was sent.
    any_reply: bool = False
    #: Each idle client sends one message when it has opened, so that the server has read from it.
    speak_once: bool = False
    #: Opening handshakes at the same time, while the clients of a run open.
    at_once: int = 64
    #: Seconds for TCP, TLS and the upgrade together.
    connect_timeout: float = 10.0
    #: The process of the server. Its CPU and memory are measured, with those of its descendants.
    pid: int | None = None

    def __post_init__(self) -> None:
        for name in ("clients", "publishers", "depth", "window", "processes", "at_once"):
            if getattr(self, name) < 1:
                raise PlanError(f"{name} must be at least 1")
        if min(self.size, self.warmup, self.ramp) < 0 or self.duration <= 0 or self.connect_timeout <= 0:
            raise PlanError(
                "size, warmup and ramp may not be negative, and duration and timeout must be above 0"
            )
        if self.rate is not None and self.rate <= 0:
            raise PlanError("rate must be above 0")
        if self.publishers > self.clients:
            raise PlanError(f"{self.publishers} of {self.clients} clients cannot publish")
        if self.processes > self.clients:
            raise PlanError(f"{self.clients} clients cannot be shared by {self.processes} processes")
        if self.merged_by is not None and (len(self.merged_by) != 1 or not self.merged_by.isascii()):
            raise PlanError(f"merged by {self.merged_by!r}: this must be one ASCII character")
        self._check_scenario()

    def _check_scenario(self) -> None:
        if self.scenario is Scenario.ROOM and self.processes > 1:
            raise PlanError("a room needs one process: a round ends when all its clients have received all")
        if self.scenario is Scenario.FANOUT and self.message is None and self.size < STAMP_SIZE:
            raise PlanError(f"a message of a fan-out carries its time: it needs {STAMP_SIZE} bytes")
        if self.scenario is Scenario.FANOUT and self.message is not None and STAMP_FIELD not in self.message:
            raise PlanError(f"a message of a fan-out carries its time: write {STAMP_FIELD} where it goes")
        if self.scenario is Scenario.FANOUT and self.publishers > self.share(0):
            raise PlanError(f"all publishers belong to the first process, which has {self.share(0)} clients")
        if self.scenario is Scenario.IDLE and self.rate is not None:
            raise PlanError("idle clients send nothing, so there is no rate")
        if self.scenario is Scenario.CONNECT and self.ramp:
            raise PlanError("the clients of connect open and close all the time, so there is no ramp")
        if (self.scenario is Scenario.SCRIPT) != (self.script is not None):
            raise PlanError("a script is for clients that follow one")
        if self.scenario is Scenario.SCRIPT and (self.rate is not None or self.deflate):
            raise PlanError("a script says when its clients send, and they do not compress")

    def share(self, process: int) -> int:
        """Return how many of the clients belong to one of the processes."""
        return self.clients // self.processes + (process < self.clients % self.processes)

    def first(self, process: int) -> int:
        """Return the number of the first client of one of the processes, among all."""
        return sum(self.share(each) for each in range(process))

    @property
    def urls(self) -> tuple[str, ...]:
        return (self.url, *self.more_urls)

    @property
    def stamped(self) -> bool:
        """Whether messages carry a stamp. In the other scenarios their order says when they were due."""
        return self.scenario is Scenario.FANOUT

    def to_json(self) -> dict[str, Any]:
        """Return the values for a generator process."""
        return asdict(self)

    def to_report(self) -> dict[str, Any]:
        """Return the values for a report: without what may be secret in headers and the script."""
        headers = [
            (name, HIDDEN if name.lower() in SECRET_HEADERS else value) for name, value in self.headers
        ]
        digest = None if self.script is None else f"sha256:{sha256(self.script.encode()).hexdigest()[:16]}"
        return {**asdict(self), "headers": headers, "script": digest}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """The inverse of `to_json`. JSON has made lists of the tuples."""
        headers = tuple((name, value) for name, value in values["headers"])
        rest = {
            "scenario": Scenario(values["scenario"]),
            "subprotocols": tuple(values["subprotocols"]),
            "more_urls": tuple(values.get("more_urls", ())),
        }
        return cls(**{**values, **rest, "headers": headers})
