# cython: annotation_typing=False
"""What this process publishes in one turn, in order: runs of messages of one topic, each a record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastws.pubsub.bus.lanes import Lane
from fastws.pubsub.bus.peer import Peer
from fastws.pubsub.bus.records import Kind, Record, encode_record

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
    """Collects the runs of a turn, and writes them to the peers at its end.

    Args:
        peers: Those to write to; the list is the caller's, and changes.
        wake: Is called at the first message of a turn where the loop of the bus does not run here.
    """

    __slots__ = (
        "_call_soon",
        "_early",
        "_last",
        "_loop",
        "_peers",
        "_run",
        "_run_bytes",
        "_wake",
        "has_peers",
        "is_started",
        "lost",
        "runs",
    )

    def __init__(self, peers: list[Peer], wake: Callable[[], None]) -> None:
        self._peers = peers
        self._wake = wake
        self._loop: asyncio.AbstractEventLoop | None = None
        self._call_soon: Callable[[Callable[[], None]], object] | None = None
        self._last: Lane | None = None
        self._run: Any = None
        self.runs: list[Run] = []
        #: False: there is nobody to tell, so nothing is collected.
        self.has_peers = False
        self.is_started = False
        #: The size at which a run ends. 0 before the start: each message is counted.
        self._run_bytes = 0
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
        if run.size >= self._run_bytes:
            self._check_size(len(frame))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write at the end of each turn of ``loop`` from now on, and what was collected at once."""
        self._loop = loop
        self._call_soon = loop.call_soon
        self._run_bytes = RUN_BYTES
        self.is_started = True
        self.flush()

    def flush(self) -> None:
        """Write what was collected to every peer, in one write for each, and begin anew."""
        if not self.is_started:
            return
        peers = self._peers
        for peer in peers:
            if peer.dropped:
                peer.tell_dropped()
        if not self.runs:
            return
        runs = self._numbered()
        only = peers[0] if len(peers) == 1 else None
        if only is not None and only.joined is not None:
            _hand_over(only, runs)
            return
        records = [
            (lane, count, encode_record(RUN, 0, lane.key, count, number, body))
            for lane, count, number, body in runs
        ]
        whole = records[0][2] if len(records) == 1 else b"".join([record for _, _, record in records])
        # A copy: a peer whose socket is broken goes.
        for peer in list(peers):
            if peer.follows is None and not peer.dropped and peer.has_room(len(whole)):
                peer.write(whole)
            else:
                _write_some(peer, records)

    def _numbered(self) -> list[tuple[Lane, int, int, bytes]]:
        """Number what was collected, and return each run's lane, count, first number and messages."""
        found = []
        for run in self._take():
            lane, count = run.lane, len(run.frames)
            body = run.frames[0] if count == 1 else b"".join(run.frames)
            found.append((lane, count, lane.number, body))
            lane.number += count
            lane.is_told = False
            lane.silent_ticks = 0
        return found

    def _take(self) -> list[Run]:
        runs, self.runs = self.runs, []
        self._last = self._run = None
        return runs

    def stop(self) -> None:
        """Collect nothing more, until the next start."""
        self._take()
        self._loop = self._call_soon = None
        self.has_peers = False
        self.is_started = True

    def reset(self) -> None:
        """Be as before the first start. What was collected is gone."""
        self.stop()
        self.has_peers = self.is_started = False
        self._run_bytes = self._early = 0
        self.lost.clear()

    def _begin(self, lane: Lane) -> bool:
        if self.is_started and not self.has_peers:
            return False
        if not self.is_started and self._early >= EARLY_BYTES:
            self._wake()
            self.lost[lane] = self.lost.get(lane, 0) + 1
            return False
        if not self.runs:
            if self._call_soon is not None and asyncio._get_running_loop() is self._loop:
                self._call_soon(self.flush)
            else:
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


def _hand_over(peer: Peer, runs: list[tuple[Lane, int, int, bytes]]) -> None:
    """Write to a peer in this process, which never lets anything wait, what it follows."""
    follows = peer.follows
    records = [
        Record(RUN, 0, lane.key, count, number, body)
        for lane, count, number, body in runs
        if follows is None or lane.key in follows
    ]
    if records:
        peer.write_records(records)


def _write_some(peer: Peer, records: list[tuple[Lane, int, bytes]]) -> None:
    """Write what a peer follows and what it has room for; count the rest."""
    for lane, count, record in records:
        if peer.follows is not None and lane.key not in peer.follows:
            continue
        if not peer.dropped and peer.has_room(len(record)):
            peer.write(record)
        else:
            peer.dropped[lane] = peer.dropped.get(lane, 0) + count
