"""The engine for scripts: it has the methods of the C engine, and drives its clients by asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from array import array
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import orjson

from fastws.loadgen.errors import KINDS
from fastws.loadgen.histogram import HALF_BITS
from fastws.loadgen.plan import Plan
from fastws.loadgen.script import STAMP_FIELD, Action, Step, parse_script
from fastws.loadgen.script_client import STAMP, Failure, ScriptClient, stamp
from fastws.loadgen.target import Target
from fastws.loop.event_loops import loop_factory

__all__ = ["Engine", "ScriptEngine"]

Snapshot = tuple[dict[str, int], int, int, int]
#: What is counted, by the names of the C engine. `scheduled` are the messages that steps expect, `answered`
#: those of them that came, and `rounds` the times that the repeated steps were done.
NAMES = ("scheduled", "answered", "sent", "received", "other", "bytes_in", "rounds", "opened", "failed",
         "lost", "late_ns", "pings", "alive")  # fmt: skip
SLOTS = 33 << HALF_BITS
#: A latency in a histogram is at most an hour.
MOST_NS = 3600 * 10**9


class Engine(Protocol):
    """What `worker.py` needs of an engine; see `_loadgen.pyi`."""

    def open(self, at_once: int, ramp: float = 0.0, /) -> int: ...
    def run(self, *, begin: int, start: int, end: int, drain: float, until_drained: bool) -> None: ...
    def answer_pings(self) -> None: ...
    def close(self, patience: float, /) -> None: ...
    def stop(self) -> None: ...
    def counters(self) -> dict[str, int]: ...
    def snapshots(self) -> tuple[Snapshot, Snapshot]: ...
    def errors(self) -> list[tuple[int, int, int]]: ...
    def note(self) -> str: ...
    def histogram(self) -> bytes: ...
    def interval(self) -> tuple[int, int, int, int]: ...


class ScriptEngine:
    """The clients of one process. A client opens when its time in the ramp has come, and begins its script.

    ``run`` blocks. Other threads may call ``stop`` and all that reads figures meanwhile.

    Args:
        plan: The run.
        targets: Where the clients connect to, in turn.
        first: The number of the first client among those of all processes.
        clients: How many there are.
    """

    def __init__(self, plan: Plan, targets: list[Target], *, first: int, clients: int) -> None:
        assert plan.script is not None
        self._plan, self._targets = plan, targets
        self._numbers = range(first, first + clients)
        self._script = parse_script(plan.script)
        self._stamped = self._script.stamped
        handshakes = zip(*(target.handshakes(plan) for target in targets), strict=True)
        self._handshakes = list(chain.from_iterable(handshakes))
        self._counts: Counter[str] = Counter()
        self._errors: Counter[tuple[int, int]] = Counter()
        self._note = ""
        self._slots = array("Q", bytes(8 * SLOTS))
        self._recent: list[int] = []
        self._snapshots: list[Snapshot] = []
        self._start = self._end = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # -- what the C engine has too --------------------------------------------------------------

    def open(self, at_once: int, ramp: float = 0.0, /) -> int:
        """Do nothing: clients open while the run goes on."""
        return 0

    def answer_pings(self) -> None:
        """Do nothing: no client is open between two runs."""

    def close(self, patience: float, /) -> None:
        """Do nothing: the run has closed all."""

    def run(self, *, begin: int, start: int, end: int, drain: float, until_drained: bool) -> None:
        """Follow the script from ``begin`` to ``end``; wait ``drain`` seconds for what is expected then."""
        self._start, self._end = start / 1e9, end / 1e9
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._run(begin / 1e9, drain))

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stopping.set)

    def counters(self) -> dict[str, int]:
        return {name: self._counts[name] for name in NAMES}

    def snapshots(self) -> tuple[Snapshot, Snapshot]:
        first, last = self._snapshots
        return first, last

    def errors(self) -> list[tuple[int, int, int]]:
        return [(kind, detail, count) for (kind, detail), count in list(self._errors.items())]

    def note(self) -> str:
        return self._note

    def histogram(self) -> bytes:
        return self._slots.tobytes()

    def interval(self) -> tuple[int, int, int, int]:
        recent, self._recent = sorted(self._recent), []
        if not recent:
            return 0, 0, 0, 0
        last = len(recent) - 1
        return len(recent), recent[last // 2], recent[int(last * 0.99)], recent[-1]

    # -- a run ----------------------------------------------------------------------------------

    async def _run(self, begin: float, drain: float) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        gate = asyncio.Semaphore(self._plan.at_once)
        context = self._targets[0].context(insecure=self._plan.insecure)
        async with asyncio.TaskGroup() as group:
            live = (self._live(number, begin, gate, context) for number in self._numbers)
            clients = [group.create_task(each) for each in live]
            await self._pause(self._start - time.monotonic())
            self._take_snapshot()
            await self._pause(self._end - time.monotonic())
            self._take_snapshot()
            self._end = min(self._end, time.monotonic())
            if not self._stopping.is_set():
                await asyncio.wait(clients, timeout=drain)
            for client in clients:
                client.cancel()

    async def _pause(self, seconds: float) -> None:
        """Sleep, or until the run is stopped."""
        assert self._stopping is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stopping.wait()

    def _take_snapshot(self) -> None:
        try:
            waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
        except (OSError, IndexError):
            waited = 0
        self._snapshots.append((self.counters(), time.monotonic_ns(), time.thread_time_ns(), waited))

    async def _live(
        self, number: int, begin: float, gate: asyncio.Semaphore, context: ssl.SSLContext | None
    ) -> None:
        """One client, from its turn in the ramp to its end."""
        due = begin + self._plan.ramp * number / self._plan.clients
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        client = None
        try:
            async with gate, asyncio.timeout(self._plan.connect_timeout):
                client = await self._open(number, context)
        except (OSError, TimeoutError, Failure) as error:
            self._counts["failed"] += 1
            self._count_error(_failure(error))
            return
        self._counts["opened"] += 1
        self._counts["alive"] += 1
        try:
            await self._follow(client, number)
        finally:
            self._counts["alive"] -= 1
            client.close()

    async def _open(self, number: int, context: ssl.SSLContext | None) -> ScriptClient:
        at = number - self._numbers.start
        target = self._targets[at % len(self._targets)]
        handshake = self._handshakes[at % len(self._handshakes)]
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: ScriptClient(handshake, self._heard, keeps=self._script.expects),
            target.address, target.port, ssl=context, server_hostname=target.name if context else None,
        )  # fmt: skip
        await asyncio.wait((client.opened, client.ended), return_when=asyncio.FIRST_COMPLETED)
        if not client.opened.done():
            raise client.ended.result()
        return client

    async def _follow(self, client: ScriptClient, number: int) -> None:
        steps = asyncio.create_task(self._take_steps(client, number))
        try:
            await asyncio.wait((steps, client.ended), return_when=asyncio.FIRST_COMPLETED)
            if not client.ended.done():
                await steps  # which may have failed
                await asyncio.wait((client.ended,), timeout=max(0.0, self._end - time.monotonic()))
        finally:
            steps.cancel()
        if client.ended.done():
            self._counts["lost"] += 1
            self._count_error(client.ended.result())

    async def _take_steps(self, client: ScriptClient, number: int) -> None:
        for step in self._script.once:
            if not await self._take(step, client, number, 0):
                return
        own = [step for step in self._script.again if step.is_of(number)]
        done = 0
        while own and (self._script.times is None or done < self._script.times):
            for step in own:
                if not await self._take(step, client, number, done):
                    return
            done += 1
            self._counts["rounds"] += 1
            await asyncio.sleep(0)

    async def _take(self, step: Step, client: ScriptClient, number: int, done: int) -> bool:
        """Take one step. Return False where the run is over."""
        if time.monotonic() >= self._end:
            return False
        if not step.is_of(number):
            return True
        match step.action:
            case Action.WAIT:
                await asyncio.sleep(min(step.value, max(0.0, self._end - time.monotonic())))
            case Action.SEND:
                await self._send(client, filled(step.value, number, done).encode())
            case Action.BINARY:
                await self._send(client, step.value, binary=True)
            case Action.SUB:
                await self._send(client, orjson.dumps({"sub": step.value}))
                await self._expect(step, {"t": step.value}, client)
            case Action.EXPECT:
                await self._expect(step, filled_all(step.value, number, done), client)
        return True

    async def _send(self, client: ScriptClient, payload: bytes, *, binary: bool = False) -> None:
        await client.send(payload, binary=binary)
        client.sent_at = time.monotonic()
        self._counts["sent"] += 1

    async def _expect(self, step: Step, wanted: Any, client: ScriptClient) -> None:
        begun = client.sent_at or time.monotonic()
        self._counts["scheduled"] += 1
        try:
            async with asyncio.timeout(step.within):
                at, payload = await client.expect(wanted)
        except TimeoutError:
            self._count_error(Failure("unmet", step.line))
            return
        if step.action is Action.SUB and b'"error":' in payload:
            self._count_error(Failure("unsubscribed", step.line))
            return
        self._counts["answered"] += 1
        client.sent_at = at
        if not self._stamped:
            self._record(begun, at)

    # -- what is counted ------------------------------------------------------------------------

    def _heard(self, message: bytes, now: float) -> None:
        self._counts["received"] += 1
        self._counts["bytes_in"] += len(message)
        if self._stamped and (found := STAMP.search(message)) is not None:
            self._record(float(found[1]), now)

    def _record(self, since: float, now: float) -> None:
        if self._start <= since < self._end:
            value = min(MOST_NS, max(0, int((now - since) * 1e9)))
            bucket = max(0, value.bit_length() - 1 - HALF_BITS)
            self._slots[(bucket << HALF_BITS) + (value >> bucket)] += 1
            self._recent.append(value)

    def _count_error(self, failure: Failure) -> None:
        self._errors[KINDS.index(failure.kind), failure.detail] += 1
        self._note = self._note or failure.note


def filled(text: str, client: int, done: int) -> str:
    """Return a text with the fields that scripts know: the client's number, the round, and the time."""
    text = text.replace("{client}", str(client)).replace("{round}", str(done))
    return text.replace(STAMP_FIELD, stamp(time.monotonic())) if STAMP_FIELD in text else text


def filled_all(value: Any, client: int, done: int) -> Any:
    """The same in all texts of a JSON value."""
    if isinstance(value, str):
        return filled(value, client, done)
    if isinstance(value, dict):
        return {name: filled_all(each, client, done) for name, each in value.items()}
    return value


def _failure(error: OSError | TimeoutError | Failure) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, TimeoutError) and error.errno is None:
        return Failure("timeout")
    if isinstance(error, ssl.SSLError):
        return Failure("tls", note=getattr(error, "verify_message", "") or error.reason or "")
    return Failure("connect", error.errno or 0)
