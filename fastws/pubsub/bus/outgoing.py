# cython: annotation_typing=False
"""What this process publishes in one turn, in order: runs of messages of one topic, each a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastws.pubsub.bus.lanes import Lane
from fastws.pubsub.bus.peer import Peer
from fastws.pubsub.bus.records import Kind, encode_record

__all__ = ["Outgoing", "Run"]

RUN = int(Kind.RUN)
#: A run ends at so many bytes, and the next record begins: the receiver need not wait for all of it.
RUN_BYTES = 256 * 1024
#: What is published before the bus has started waits, up to so many bytes.
EARLY_BYTES = 8 * 1024 * 1024


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

    def flush(self, peers: list[Peer]) -> None:
        """Write what was collected to every peer, in one write for each, and begin anew."""
        for peer in peers:
            if peer.dropped:
                peer.tell_dropped()
        if not self.runs:
            return
        records = self._records()
        whole = records[0][2] if len(records) == 1 else b"".join([record for _, _, record in records])
        # A copy: a peer whose socket is broken goes.
        for peer in list(peers):
            if peer.follows is None and not peer.dropped and peer.has_room(len(whole)):
                peer.write(whole)
            else:
                _write_some(peer, records)

    def _records(self) -> list[tuple[Lane, int, bytes]]:
        """Number what was collected, and return each run's lane, count and record."""
        records = []
        for run in self._take():
            lane, count = run.lane, len(run.frames)
            body = run.frames[0] if count == 1 else b"".join(run.frames)
            records.append((lane, count, encode_record(RUN, 0, lane.key, count, lane.number, body)))
            lane.number += count
            lane.is_told = False
            lane.silent_ticks = 0
        return records

    def _take(self) -> list[Run]:
        runs, self.runs = self.runs, []
        self._last = self._run = None
        return runs

    def reset(self) -> None:
        """Be as before the start. What was collected is gone."""
        self._take()
        self.has_peers = self.is_started = False
        self._early = 0
        self.lost.clear()

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


def _write_some(peer: Peer, records: list[tuple[Lane, int, bytes]]) -> None:
    """Write what a peer follows and what it has room for; count the rest."""
    for lane, count, record in records:
        if peer.follows is not None and lane.key not in peer.follows:
            continue
        if not peer.dropped and peer.has_room(len(record)):
            peer.write(record)
        else:
            peer.dropped[lane] = peer.dropped.get(lane, 0) + count
