# cython: annotation_typing=False
"""What this process publishes in one turn, in order: runs of messages of one topic, each a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastws.pubsub.bus.records import MAX_KEY_BYTES, BadRecord, Kind, encode_record

__all__ = ["Lane", "Outgoing", "Run", "encode_runs", "key_of", "names_of"]

#: A run ends at so many bytes, and the next record begins: the receiver need not wait for all of it.
RUN_BYTES = 256 * 1024
#: What is published before the bus has started waits, up to so many bytes.
EARLY_BYTES = 8 * 1024 * 1024


class Lane:
    """One topic of one hub, as the bus numbers it."""

    __slots__ = ("is_told", "key", "number", "silent_ticks")

    def __init__(self, key: bytes) -> None:
        self.key = key
        #: The number of its next message.
        self.number = 1
        #: Whether its last number has been told again; and for how many seconds it has published nothing.
        self.is_told = True
        self.silent_ticks = 0


class Run:
    """Messages of one topic that were published one after the other."""

    __slots__ = ("frames", "lane", "size")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.frames: list[bytes] = []
        self.size = 0


class Outgoing:
    """Collects the runs of a turn. ``wake`` is called at the first message of each."""

    __slots__ = ("_early", "_last", "_run", "_wake", "has_peers", "is_started", "lost", "runs")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._last: Lane | None = None
        self._run: Any = None
        self.runs: list[Run] = []
        #: False: there is nobody to tell, so nothing is collected.
        self.has_peers = False
        self.is_started = False
        #: Bytes collected before the start; and what was more than may wait.
        self._early = 0
        self.lost: dict[Lane, int] = {}

    def add(self, lane: Lane, frame: bytes) -> None:
        """Take one message. Raises ``RuntimeError`` in another thread than that of the bus."""
        if lane is not self._last and not self._begin(lane):
            return
        run = self._run
        run.frames.append(frame)
        run.size += len(frame)
        if run.size >= RUN_BYTES or not self.is_started:
            self._check_size(len(frame))

    def take(self) -> list[Run]:
        """Return what was collected, and begin anew."""
        runs, self.runs = self.runs, []
        self._last = self._run = None
        return runs

    def _begin(self, lane: Lane) -> bool:
        if self.is_started and not self.has_peers:
            return False
        if not self.is_started and self._early >= EARLY_BYTES:
            self._wake()
            self.lost[lane] = self.lost.get(lane, 0) + 1
            return False
        if not self.runs:
            self._wake()
        self._last = lane
        self._run = Run(lane)
        self.runs.append(self._run)
        return True

    def _check_size(self, size: int) -> None:
        if not self.is_started:
            self._early += size
            if self._early < EARLY_BYTES:
                return
        # The next message begins a run, or is one too many.
        self._last = None


def encode_runs(runs: list[Run]) -> list[tuple[Lane, int, bytes]]:
    """Number the messages of a turn, and return each run's lane, count and record."""
    records = []
    for run in runs:
        lane, count = run.lane, len(run.frames)
        body = run.frames[0] if count == 1 else b"".join(run.frames)
        records.append((lane, count, encode_record(Kind.RUN, 0, lane.key, count, lane.number, body)))
        lane.number += count
        lane.is_told = False
        lane.silent_ticks = 0
    return records


def key_of(hub_name: str, topic: str) -> bytes:
    """Return the key of a hub's topic. Raises ``ValueError`` for one that is too long for a record."""
    key = f"{hub_name}\0{topic}".encode("utf-8", "surrogatepass")
    if len(key) > MAX_KEY_BYTES:
        raise ValueError(f"the names of a hub and its topic are {len(key)} bytes, and may be {MAX_KEY_BYTES}")
    return key


def names_of(key: bytes) -> tuple[str, str]:
    """Return the names of a key's hub and topic. Raises :class:`BadRecord` for what is no text."""
    try:
        hub_name, _, topic = key.decode("utf-8", "surrogatepass").partition("\0")
    except UnicodeDecodeError:
        raise BadRecord("a topic whose name is no text") from None
    return hub_name, topic
