"""One generator process: ``python -m fastws.loadgen``, told what to do by `fleet.py`.

Orders come in and events go out as lines of JSON. A process of its own, also when there is only one, leaves
the core to the C loop: whatever the terminal wants to show costs the parent, not the measurement.
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
from typing import Any

import orjson

from fastws.loadgen import histogram, payload
from fastws.loadgen._loadgen import Generator
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.target import Target

__all__ = ["PROGRESS_SECONDS", "Share", "main", "make_generator"]

PROGRESS_SECONDS = 0.5
CLOSE_SECONDS = 1.0
#: How often a server's pings are looked for between two turns: it is patient for some seconds at least.
PING_CHECK_SECONDS = 2.0
#: The order of `enum scenario` in `_loadgen.h`.
SCENARIOS = [Scenario.ECHO, Scenario.FANOUT, Scenario.ROOM, Scenario.CONNECT, Scenario.IDLE]


@dataclass(frozen=True, slots=True)
class Share:
    """What one process has of the whole."""

    plan: Plan
    target: Target
    #: Which of the processes this is.
    process: int
    #: Nanoseconds of the monotonic clock, the same in all processes: stamps count from here.
    base: int

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: bytes) -> Share:
        values = orjson.loads(line)
        plan, target = Plan.from_json(values["plan"]), Target(**values["target"])
        return cls(plan, target, values["process"], values["base"])


def make_generator(share: Share) -> Generator:
    """The C engine for one share. Raises OSError where a library it needs is missing."""
    plan, target, message = share.plan, share.target, payload.make(share.plan)
    return Generator(
        scenario=SCENARIOS.index(plan.scenario),
        host=target.address,
        port=target.port,
        handshakes=target.handshakes(plan),
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
        tls=target.tls,
        verify=not plan.insecure,
        server_name=target.name,
        base=share.base,
        limit=plan.connect_timeout,
        to_others=plan.to_others,
    )


def senders(plan: Plan, process: int) -> int:
    """How many of its clients send. All publishers of a fan-out are in the first process."""
    if plan.scenario is Scenario.FANOUT:
        return plan.publishers if process == 0 else 0
    return plan.share(process)


def rate(plan: Plan) -> float:
    """Of one process. Whoever hears of a fan-out needs the publishers' own, to count as they do."""
    if plan.rate is None:
        return 0.0
    return plan.rate if plan.scenario is Scenario.FANOUT else plan.rate / plan.processes


class Worker:
    """Runs the C engine in a thread, and answers for it meanwhile."""

    def __init__(self, share: Share) -> None:
        self._plan = share.plan
        self._generator = make_generator(share)
        self._orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._writing = threading.Lock()
        #: Between two turns there is nothing to tell, and another generator has the core.
        self._resting = False

    def serve(self, lines: Iterator[bytes | None]) -> None:
        """Follow orders until their end; None among them is the moment for a sign of progress."""
        engine = threading.Thread(target=self._work, name="loadgen")
        engine.start()
        for line in lines:
            if line is None:
                if not self._resting:
                    self._tell("progress", interval=self._generator.interval())
                continue
            order = orjson.loads(line)
            if order["do"] == "stop":
                self._generator.stop()
            else:
                self._orders.put(order)
        self._generator.stop()
        self._orders.put(None)
        engine.join()

    def _work(self) -> None:
        if self._plan.scenario is not Scenario.CONNECT:
            self._generator.open(self._plan.at_once)
        self._tell("opened")
        while (order := self._next_order()) is not None:
            self._generator.run(
                begin=order["begin"],
                start=order["start"],
                end=order["end"],
                drain=order["drain"],
                until_drained=order["until_drained"],
            )
            slots = histogram.slots(self._generator.histogram())
            self._tell("done", snapshots=self._generator.snapshots(), slots=slots)
        self._generator.close(CLOSE_SECONDS)

    def _next_order(self) -> dict[str, Any] | None:
        self._resting = True
        while True:
            try:
                order = self._orders.get(timeout=PING_CHECK_SECONDS)
            except queue.Empty:
                self._generator.answer_pings()
            else:
                self._resting = False
                return order

    def _tell(self, event: str, **more: Any) -> None:
        counted = self._generator
        more |= {"counters": counted.counters(), "errors": counted.errors(), "note": counted.note()}
        tell(event, self._writing, at=time.monotonic(), **more)


def tell(event: str, lock: threading.Lock, **more: Any) -> None:
    line = orjson.dumps({"event": event, **more}) + b"\n"
    # A parent that has gone shows as the end of the orders.
    with lock, contextlib.suppress(BrokenPipeError):
        while line:
            line = line[os.write(1, line) :]


def orders() -> Iterator[bytes | None]:
    """Lines of the standard input until its end, and None each time that progress is due."""
    rest = b""
    while True:
        if not select.select([0], [], [], PROGRESS_SECONDS)[0]:
            yield None
            continue
        chunk = os.read(0, 1 << 16)
        if not chunk:
            return
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def main() -> None:
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines = orders()
    first = next((line for line in lines if line is not None), None)
    if first is None:
        return
    try:
        worker = Worker(Share.from_json(first))
    except OSError as error:
        tell("failed", threading.Lock(), text=str(error))
        return
    worker.serve(lines)
