"""Rows of attacks, the server that bears them, and the meters that look at it before and after each."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.hostile.payloads import DEFLATE, LIMIT, MS, NEXT, request
from tests.kit.process import MIB, Watch, open_files, rss, watch
from tests.live.raw import BINARY, CLOSE, Outcome, Peer, close_frame, frame, upgrade
from tests.live.servers import Servers, Site

__all__ = ["LONG", "Arena", "Frames", "Refused", "Row", "Stages", "TooSlow"]

#: The long form of every row: the full numbers and the built-in times, in minutes.
LONG = os.environ.get("FASTWS_HOSTILE_LONG") == "1"
APP = "tests.hostile.apps:routes"
#: Each loop is attacked with one of the engines.
LOOP = {"c": "auto", "wsproto": "asyncio"}

#: The canary's bound, for the C engine, and what the machine itself took on top; beside the other one
#: an echo of 10 s is an error.
CANARY_P99 = 100 * MS
#: What a server may have grown at the end of a row, and in all; and the seconds to settle.
GROWN = 5 * MIB
GROWN_IN_ALL = 16 * MIB
SETTLE = 5.0


class TooSlow(AssertionError):
    """A bound that a busy machine may miss, of time, CPU or memory: that is worth another try."""


class Attack(Protocol):
    """One thing that is sent, and its judgement; a plain function of the arena is one too."""

    def __call__(self, arena: Arena) -> None: ...


@dataclass(frozen=True)
class Row:
    """A row of the table: what is sent, what must come back, and where it has been found."""

    id: str
    name: str
    advisories: str
    send: str
    expect: str
    attacks: Sequence[Attack]
    #: Which server: "plain", "hasty" with times of about a second, or "tls".
    stage: str = "plain"
    #: Attacks that take chances run with each of these.
    seeds: Sequence[int] = (0,)
    #: Engines for which there is something to see.
    engines: Sequence[str] = ("c", "wsproto")
    #: Lines of the log that the row's own application may write; all others are failures.
    logs: str | None = None


@dataclass
class Arena:
    """What an attack needs: the site, chance, and how much of it this run has time for."""

    stage: Stage
    chance: random.Random = field(default_factory=random.Random)

    @property
    def site(self) -> Site:
        return self.stage.site

    @property
    def engine(self) -> str:
        return self.stage.engine

    @property
    def servers(self) -> Servers:
        return self.stage.servers

    @property
    def pid(self) -> int:
        return self.site.pid

    @property
    def port(self) -> int:
        return self.site.port

    @staticmethod
    def choose(short: Any, long: Any) -> Any:
        return long if LONG else short

    def peer(self, **options: Any) -> Peer:
        return Peer(self.port, self.site.tls, **options)

    @contextmanager
    def many(self, count: int) -> Iterator[list[Peer]]:
        with ExitStack() as stack:
            yield [stack.enter_context(self.peer()) for _ in range(count)]

    @contextmanager
    def bounds(self, *, cpu: float | None = None, grows: int | None = None) -> Iterator[Watch]:
        """At most ``cpu`` seconds of the server, on the C engine, and at most ``grows`` bytes more of it."""
        before = cpu_now(self.pid)
        with watch(self.pid) as watched:
            yield watched
        watched.cpu = cpu_now(self.pid) - before
        # A server that had just given memory back takes it again; a busy one has more to do at once.
        if grows is not None and watched.rss_grown > grows:
            raise TooSlow(f"grown by {watched.rss_grown / MIB:.1f} MiB")
        if cpu is not None:
            self.quick(watched.cpu, cpu, "of the server's CPU")

    def quick(self, seconds: float, limit: float, what: str) -> None:
        if self.engine == "c" and seconds > limit:
            raise TooSlow(f"{seconds:.3f} s {what}, not {limit:.3f}")

    def idle(self, within: float = 1.0) -> None:
        """The server must stop to work soon after an attack."""
        deadline = time.monotonic() + within
        while True:
            before = cpu_now(self.pid)
            time.sleep(0.1)
            if cpu_now(self.pid) - before < 0.02:
                return
            if time.monotonic() > deadline:
                raise TooSlow(f"not idle after {within} s")

    def until(self, true: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait for something that must happen; return how long it took."""
        started = time.monotonic()
        while not true():
            if time.monotonic() - started > seconds:
                raise TooSlow(f"{what}: not within {seconds} s")
            time.sleep(0.02)
        return time.monotonic() - started


@dataclass(frozen=True)
class Frames:
    """Bytes on an open WebSocket; a close frame with one of ``codes`` answers them, and nothing else."""

    what: str
    send: Callable[[], bytes]
    codes: tuple[int, ...]
    cpu: float = 50 * MS
    grows: int = MIB // 2
    fields: tuple[str, ...] = ()

    def __call__(self, arena: Arena) -> None:
        data = self.send()
        with (
            arena.peer().upgrade("/echo", *self.fields) as peer,
            arena.bounds(cpu=self.cpu, grows=self.grows),
        ):
            outcome = peer.exchange(data)
        assert outcome.code in self.codes, f"{outcome.code}, not {self.codes}"
        assert outcome.ended and not outcome.reset
        # The close frame is the last thing said, and an attack is not echoed.
        assert [each.opcode for each in outcome.frames] == [CLOSE]


@dataclass(frozen=True)
class Refused:
    """A request that gets one answer with one of ``statuses``; what follows it is none any more."""

    what: str
    send: bytes
    statuses: tuple[int, ...] = (400,)

    def __call__(self, arena: Arena) -> None:
        with arena.peer() as peer, arena.bounds(cpu=50 * MS, grows=MIB // 2):
            outcome = peer.exchange(self.send + NEXT)
        assert len(outcome.statuses) == 1, outcome.statuses
        assert outcome.statuses[0] in self.statuses, outcome.statuses
        assert outcome.ended and not outcome.reset
        assert b"connection: close" in outcome.data.lower()


def cpu_now(pid: int) -> float:
    """CPU seconds of all threads; finer than the ticks of /proc/PID/stat."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def waited_for_cpu(pid: int) -> float:
    """Seconds that the process was ready to run and others ran (kernel, sched-stats)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


# -- the server -------------------------------------------------------------------------------------


class Stage:
    """A server with a normal client, and how it was when the first attack came."""

    def __init__(self, servers: Servers, site: Site, engine: str) -> None:
        self.servers = servers
        self.site = site
        self.engine = engine
        self._warm_up()
        command = [sys.executable, str(Path(__file__).with_name("canary.py")), str(site.port)]
        if site.certificates is not None:
            command.append(str(site.certificates / "ca.pem"))
        self._canary = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._canary.stdout is not None
        assert self._canary.stdout.readline() == "ready\n"
        time.sleep(0.3)
        self.files, self.memory = open_files(site.pid), rss(site.pid)

    def close(self) -> None:
        self._canary.kill()
        self._canary.communicate()

    def _warm_up(self) -> None:
        """Let the server make what it makes once: buffers, compressors, pages."""
        site = self.site
        for fields in ([], [DEFLATE]):
            with Peer(site.port, site.tls).upgrade("/echo", *fields) as peer:
                for size in (10, 100_000, LIMIT):
                    peer.send(frame(BINARY, bytes(size)))
                    peer.frame()
                peer.exchange(close_frame(1000))
        for path in ("/", "/chat", "/healthz", "/nowhere"):
            with Peer(site.port, site.tls) as peer:
                peer.exchange(request(path, "Connection: close"))

    def _saw(self) -> dict[str, Any]:
        assert self._canary.stdin is not None and self._canary.stdout is not None
        self._canary.stdin.write("?\n")
        self._canary.stdin.flush()
        answer: dict[str, Any] = json.loads(self._canary.stdout.readline())
        return answer

    def run(self, row: Row, seed: int) -> None:
        """All attacks of a row, once, and what must be true behind them."""
        self._saw()
        memory, waited = rss(self.site.pid), waited_for_cpu(self.site.pid)
        errors = len(self.site.child.err.read_bytes())
        for attack in row.attacks:
            try:
                attack(Arena(self, random.Random(seed)))
            except Exception as error:
                error.add_note(f"{row.id}: {getattr(attack, 'what', getattr(attack, '__name__', attack))}")
                raise
        self._settle(memory)
        log = self.site.child.err.read_bytes()[errors:].decode()
        strange = [line for line in log.splitlines() if row.logs is None or row.logs not in line]
        assert not strange, log
        time.sleep(0.3)  # a few echoes more
        saw = self._saw()
        assert saw["count"] and not saw["errors"], saw
        machine = waited_for_cpu(self.site.pid) - waited + 3 * saw["machine"]
        if self.engine == "c" and saw["p99"] > CANARY_P99 + machine:
            raise TooSlow(f"the canary waited: {saw}")

    def _settle(self, memory: int) -> None:
        """Files and memory are what they were, and the process is the same."""
        deadline = time.monotonic() + SETTLE
        pid = self.site.pid
        # A server that had given memory back before the row may take that again.
        memory = max(memory, self.memory)
        while True:
            assert self.site.child.process.poll() is None, "the server has ended"
            files, grown, in_all = open_files(pid) - self.files, rss(pid) - memory, rss(pid) - self.memory
            if files == 0 and grown <= GROWN and in_all <= GROWN_IN_ALL:
                return
            if time.monotonic() > deadline:
                text = f"left: {files} files, {grown / MIB:.1f} MiB, {in_all / MIB:.1f} MiB in all"
                raise AssertionError(text)
            time.sleep(0.02)


#: Times of a server that waits for nobody.
HASTY = [
    "--timeout-handshake=1.5",
    "--timeout-body=1.5",
    "--timeout-keep-alive=1.5",
    "--timeout-close=1",
    "--timeout-write=2",
    "--timeout-tls-handshake=1.5",
]


class Stages:
    """The servers of one engine, each started when a row first asks for it."""

    def __init__(self, servers: Servers, engine: str, folder: Path) -> None:
        self._servers = servers
        self._engine = engine
        self._folder = folder
        self._running = ExitStack()
        self._stages: dict[str, Stage] = {}

    def get(self, kind: str) -> Stage:
        if kind not in self._stages:
            self._stages[kind] = self._start(kind)
        return self._stages[kind]

    def _start(self, kind: str) -> Stage:
        options = [f"--static=/files={self._folder / 'files'}", "--forwarded-allow-ips="]
        if kind == "hasty" or (kind == "tls" and not LONG):
            options += [option for option in HASTY if not LONG]
        site = self._running.enter_context(
            self._servers.start(
                *options,
                scheme="wss" if kind == "tls" else "ws",
                # asyncio's own TLS keeps 285 KiB for each handshake that stalled until many more come.
                loop="auto" if kind == "tls" else LOOP[self._engine],
                engine=self._engine,
                app=APP,
                traced=False,
                tracebacks=True,  # each row looks at its own lines
            )
        )
        stage = Stage(self._servers, site, self._engine)
        self._running.callback(stage.close)
        return stage

    def close(self) -> None:
        self._running.close()


def opened(arena: Arena, path: str, *fields: str) -> Outcome:
    """A request to upgrade, and what came back until the server ended or a second has passed."""
    with arena.peer() as peer:
        return peer.exchange(upgrade(path, *fields), 1.0)
