"""What a person asks of a run, checked before anything is opened."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["LoadgenError", "Plan", "PlanError", "Scenario"]

#: Bytes of the mark and the digits with which a message of a fan-out says when it was due.
STAMP_SIZE = 9
#: Where a message of the user's own text carries it.
STAMP_FIELD = "{stamp}"


class LoadgenError(Exception):
    """The run cannot be made, or came to nothing. The text is one sentence for the user."""


class PlanError(LoadgenError, ValueError):
    """The plan contradicts itself."""


class Scenario(StrEnum):
    """What the clients do."""

    #: Each client sends and waits for its own message to come back.
    ECHO = "echo"
    #: Some publish, and everybody hears every message.
    FANOUT = "fanout"
    #: Everybody speaks once and hears all; then the next round.
    ROOM = "room"
    #: Clients open a connection, close it, and begin anew.
    CONNECT = "connect"
    #: Clients open a connection and hold it.
    IDLE = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run against one server.

    Without ``rate`` a run is a closed loop: the next message waits for an answer to one before. With it,
    messages are due at fixed times whatever the server does, and latency counts from the time due.
    """

    url: str
    scenario: Scenario
    #: Connections in all, over all processes. For `connect`: how many connect at the same time.
    clients: int = 100
    #: Of the clients of a fan-out, how many publish, in turn.
    publishers: int = 1
    #: Echo: messages that each client has outstanding.
    depth: int = 1
    #: Fan-out: messages that not everybody has heard yet.
    window: int = 1
    #: Messages (rounds, connections) a second in all; None is a closed loop.
    rate: float | None = None
    #: Bytes of a message.
    size: int = 64
    #: The message itself, instead of one made to ``size``; ``{stamp}`` is where its time goes.
    message: str | None = None
    binary: bool = False
    #: Seconds that are measured, after those of the warm-up.
    duration: float = 10.0
    warmup: float = 1.0
    #: Generators, each a process that needs a core of its own.
    processes: int = 1
    deflate: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    origin: str | None = None
    #: Do not verify the server's certificate.
    insecure: bool = False
    #: The one character with which the server joins several messages into one; None: it does not.
    merged_by: str | None = None
    #: The server does not send a message back to the client that said it.
    to_others: bool = False
    #: Every message counts as an answer, also one of another size than was sent.
    any_reply: bool = False
    #: Idle clients say one message when they have opened, so that the server has read from each.
    speak_once: bool = False
    #: Handshakes under way at the same time, while the clients of a run open.
    at_once: int = 64
    #: Seconds for TCP, TLS and the upgrade together.
    connect_timeout: float = 10.0
    #: The server's process, whose CPU and memory are measured with those of its children.
    pid: int | None = None

    def __post_init__(self) -> None:
        for name in ("clients", "publishers", "depth", "window", "processes", "at_once"):
            if getattr(self, name) < 1:
                raise PlanError(f"{name} must be at least 1")
        if self.size < 0 or self.warmup < 0 or self.duration <= 0 or self.connect_timeout <= 0:
            raise PlanError("size and warmup may not be negative, and duration and timeout must be above 0")
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
            raise PlanError("a room needs one process: a round ends when all its clients have heard all")
        if self.scenario is Scenario.FANOUT and self.message is None and self.size < STAMP_SIZE:
            raise PlanError(f"a message of a fan-out carries its time: it needs {STAMP_SIZE} bytes")
        if self.scenario is Scenario.FANOUT and self.message is not None and STAMP_FIELD not in self.message:
            raise PlanError(f"a message of a fan-out carries its time: write {STAMP_FIELD} where it goes")
        if self.scenario is Scenario.FANOUT and self.publishers > self.share(0):
            raise PlanError(f"all publishers belong to the first process, which has {self.share(0)} clients")
        if self.scenario is Scenario.IDLE and self.rate is not None:
            raise PlanError("idle clients send nothing, so there is no rate")

    def share(self, process: int) -> int:
        """How many of the clients one of the processes drives."""
        return self.clients // self.processes + (process < self.clients % self.processes)

    @property
    def stamped(self) -> bool:
        """Whether messages say when they were due. Elsewhere the order tells."""
        return self.scenario is Scenario.FANOUT

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Plan:
        """The inverse of `to_json`, after JSON has made lists of tuples."""
        headers = tuple((name, value) for name, value in values["headers"])
        rest = {"scenario": Scenario(values["scenario"]), "subprotocols": tuple(values["subprotocols"])}
        return cls(**{**values, **rest, "headers": headers})
