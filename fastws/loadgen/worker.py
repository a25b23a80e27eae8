"""One generator process: the module ``fastws.loadgen`` run by a child, which `fleet.py` starts.

It reads commands and writes events as lines of JSON. There is a process of its own also for a single
generator, so that its core belongs to the C loop: what the terminal shows costs the parent and not the
measurement.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import orjson

from fastws.loadgen import histogram
from fastws.loadgen._loadgen import Generator
from fastws.loadgen.payload import make_payload
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.script_engine import Engine, ScriptEngine
from fastws.loadgen.target import Target

__all__ = ["PROGRESS_SECONDS", "Share", "main", "make_generator"]

PROGRESS_SECONDS = 0.5
CLOSE_SECONDS = 1.0
#: Between two turns the worker answers pings so often. A server waits longer for a pong.
PING_CHECK_SECONDS = 2.0
#: Clients of these open while the run goes on.
OPENS_LATER = (Scenario.CONNECT, Scenario.SCRIPT)
#: The order of `enum scenario` in `_loadgen.h`.
SCENARIOS = [Scenario.ECHO, Scenario.FANOUT, Scenario.ROOM, Scenario.CONNECT, Scenario.IDLE]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a run that belongs to one process."""

    plan: Plan
    #: One for each URL. The clients take them in turn.
    targets: tuple[Target, ...]
    #: The number of the process.
    process: int
    #: Stamps count from here: nanoseconds of the monotonic clock, the same in all processes.
    base: int

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: bytes) -> Share:
        values = orjson.loads(line)
        targets = tuple(Target(**target) for target in values["targets"])
        return cls(Plan.from_json(values["plan"]), targets, values["process"], values["base"])

    def own_targets(self) -> list[Target]:
        """The targets, beginning with that of the process's first client."""
        first = self.plan.first(self.process) % len(self.targets)
        return [*self.targets[first:], *self.targets[:first]]


def make_generator(share: Share) -> Generator:
    """Make the C engine for one share. Raises OSError where libssl or libz is needed and missing."""
    plan, targets, message = share.plan, share.own_targets(), make_payload(share.plan)
    handshakes = zip(*(target.handshakes(plan) for target in targets), strict=True)
    return Generator(
        scenario=SCENARIOS.index(plan.scenario),
        endpoints=[(target.address, target.port, target.name) for target in targets],
        handshakes=list(chain.from_iterable(handshakes)),
        frame=message.frame,
        clients=plan.share(share.process),
        senders=senders(plan, share.process),
        depth=plan.depth,
        window=plan.window,
        rate=rate(plan),
        phase=share.process / plan.processes,
        size=-1 if plan.any_reply or plan.stamped else message.size,
        stamp_at=message.stamp_at,
        stamp_mask=message.stamp_mask,
        separator=-1 if plan.merged_by is None else ord(plan.merged_by),
        deflate=plan.deflate,
        send_once=plan.speak_once,
        tls=targets[0].tls,
        verify=not plan.insecure,
        base=share.base,
        limit=plan.connect_timeout,
        to_others=plan.to_others,
        nonce_at=message.nonce_at,
        nonce_offset=message.nonce_offset,
        nonce_len=message.nonce_len,
    )


def make_engine(share: Share) -> Engine:
    """Make the engine that the plan needs."""
    plan = share.plan
    if plan.scenario is not Scenario.SCRIPT:
        return make_generator(share)
    clients = plan.share(share.process)
    return ScriptEngine(plan, share.own_targets(), first=plan.first(share.process), clients=clients)


def senders(plan: Plan, process: int) -> int:
    """How many of its clients send. All publishers of a fan-out are in the first process."""
    if plan.scenario is Scenario.FANOUT:
        return plan.publishers if process == 0 else 0
    return plan.share(process)


def rate(plan: Plan) -> float:
    """Messages a second of one process.

    In a fan-out all processes need the rate of the publishers: it says that the loop is open.
    """
    if plan.rate is None:
        return 0.0
    return plan.rate if plan.scenario is Scenario.FANOUT else plan.rate / plan.processes


class Worker:
    """Runs the C engine in a thread; the main thread reads commands and writes events meanwhile."""

    def __init__(self, share: Share) -> None:
        self._plan = share.plan
        self._generator = make_engine(share)
        self._commands: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._write_lock = threading.Lock()
        #: Between two turns there is no progress to report, and another generator has the core.
        self._resting = False

    def serve(self, lines: Iterator[bytes | None]) -> None:
        """Follow the commands until their end. None among them: report progress now."""
        engine = threading.Thread(target=self._work, name="loadgen")
        engine.start()
        for line in lines:
            if line is None:
                if not self._resting:
                    self._report("progress", interval=self._generator.interval())
                continue
            command = orjson.loads(line)
            if command["command"] == "stop":
                self._generator.stop()
            else:
                self._commands.put(command)
        self._generator.stop()
        self._commands.put(None)
        engine.join()

    def _work(self) -> None:
        if self._plan.scenario not in OPENS_LATER:
            self._generator.open(self._plan.at_once, self._plan.ramp)
        self._report("opened")
        while (command := self._next_command()) is not None:
            self._generator.run(
                begin=command["begin"],
                start=command["start"],
                end=command["end"],
                drain=command["drain"],
                until_drained=command["until_drained"],
            )
            slots = histogram.filled_slots(self._generator.histogram())
            self._report("done", snapshots=self._generator.snapshots(), slots=slots)
        self._generator.close(CLOSE_SECONDS)

    def _next_command(self) -> dict[str, Any] | None:
        self._resting = True
        while True:
            try:
                command = self._commands.get(timeout=PING_CHECK_SECONDS)
            except queue.Empty:
                self._generator.answer_pings()
            else:
                self._resting = False
                return command

    def _report(self, event: str, **more: Any) -> None:
        engine = self._generator
        more |= {"counters": engine.counters(), "errors": engine.errors(), "note": engine.note()}
        write_event(event, self._write_lock, at=time.monotonic(), **more)


def write_event(event: str, lock: threading.Lock, **more: Any) -> None:
    line = orjson.dumps({"event": event, **more}) + b"\n"
    # Where the parent has ended, the commands end too.
    with lock, contextlib.suppress(BrokenPipeError):
        while line:
            line = line[os.write(1, line) :]


def read_commands() -> Iterator[bytes | None]:
    """Yield the lines of the standard input until its end, and None each time that progress is due."""
    incomplete = b""
    while True:
        if not select.select([0], [], [], PROGRESS_SECONDS)[0]:
            yield None
            continue
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        *complete, incomplete = (incomplete + chunk).split(b"\n")
        yield from complete


def main() -> None:
    """Run what the parent's commands say, until it closes the pipe."""
    # Ctrl-C reaches all processes of the terminal. The parent decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines = read_commands()
    first = next((line for line in lines if line is not None), None)
    if first is None:
        return
    try:
        worker = Worker(Share.from_json(first))
    except OSError as error:
        write_event("failed", threading.Lock(), text=str(error))
        return
    worker.serve(lines)
