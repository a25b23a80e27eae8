"""F17 and F19: handshakes that never end, and attacks under a cap of memory."""

from __future__ import annotations

import asyncio
import random
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from tests.faults.harness import MIB, Record, herd, row, server
from tests.kit.process import sampled_rss
from tests.siege import attacks
from tests.siege.attackers import Target, attack_for

ECHO: dict[str, Any] = {"kind": "echo", "interval": 0.05}


class Silent:
    """A connection that says little; ``age`` is how long the server bore it, infinite if it still does."""

    def __init__(self, port: int, said: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 10)
        self.began = time.monotonic()
        self.age = float("inf")
        if said:
            self.sock.sendall(said)
        self.sock.settimeout(0)

    def look(self) -> bool:
        """Read what there is; True when the server has ended the connection."""
        try:
            while self.sock.recv(4096):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.age = time.monotonic() - self.began
        return True

    def whisper(self, data: bytes) -> None:
        with suppress(OSError):
            self.sock.send(data)

    @classmethod
    @contextmanager
    def many(cls, port: int, count: int, said: bytes) -> Iterator[list[Silent]]:
        crowd: list[Silent] = []
        with ExitStack() as stack:
            for _ in range(count):
                crowd.append(cls(port, said))
                stack.callback(crowd[-1].sock.close)
            yield crowd


def hold(crowd: list[Silent], seconds: float, whisper: bytes = b"", each: float = 5.0) -> None:
    """Watch them until all have gone or time is up; those of ``whisper`` say a byte each ``each`` s."""
    until, due = time.monotonic() + seconds, time.monotonic() + each
    with selectors.DefaultSelector() as selector:
        for silent in crowd:
            if silent.age == float("inf"):
                selector.register(silent.sock, selectors.EVENT_READ, silent)
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(min(left, 0.1)):
                if key.data.look():
                    selector.unregister(key.fileobj)
            if whisper and time.monotonic() >= due:
                due += each
                for key in list(selector.get_map().values()):
                    key.data.whisper(whisper)


@row("F17", "1,000 slowloris, 1,000 half heads and 1,000 silent over TLS, at once")
def handshakes(record: Record) -> None:
    count = record.choose(1_000, 60)
    with ExitStack() as stack:
        plain = stack.enter_context(server())
        secure = stack.enter_context(server(tls=True))
        normal = [stack.enter_context(herd(site, 1, **ECHO)) for site in (plain, secure)]
        for each in normal:
            each.stats()
        before = [site.rss() for site in (plain, secure)]
        samples = [stack.enter_context(sampled_rss(site.pid)).samples for site in (plain, secure)]
        loris = stack.enter_context(Silent.many(plain.port, count, b"GET / HTTP/1.1\r\nX-A: "))
        halves = stack.enter_context(Silent.many(plain.port, count, b"GET / HTTP/1.1\r\nHost: x\r\n"))
        silent = stack.enter_context(Silent.many(secure.port, count, b""))
        # One in three says a byte; the others say nothing more.
        hold(loris + halves + silent, 13, b"a", 2.0)
        reports = [each.stats() for each in normal]
        for name, crowd in (("slowloris", loris), ("half heads", halves), ("silent over TLS", silent)):
            record.at_most(f"{name}, {count:,}: the last gone after", max(s.age for s in crowd), 11, "s")
        for name, seen, start, sampled in zip(("ws", "wss"), reports, before, samples, strict=True):
            record.at_most(f"{name}: canary's p99", seen["delays"]["p99"], 100, "ms")
            record.equal(f"{name}: canary's errors", seen["ended"] + seen["disorder"], 0)
            record.at_most(f"{name}: resident, grown at most", (max(sampled) - start) / MIB, 64, "MiB")


#: Address space that the process may have.
CAP = 512 * MIB


@row("F19", "512 MiB of address space under fragment bombs, deflate bombs and ping floods of 200")
def capped(record: Record) -> None:
    count, seconds = record.choose((200, 45.0), (20, 3.0))
    limit = ("prlimit", f"--as={CAP}:{CAP}")
    with server("--no-access-log", prefix=limit, clean=False) as site, herd(site, 1, **ECHO) as normal:
        normal.stats()
        chosen = [attacks.fragment_bomb, attacks.deflate_bomb, attacks.ping_flood]
        with sampled_rss(site.pid) as watched:
            done = asyncio.run(attack_for(Target(site.port), chosen, count, seconds, random.Random(7)))
        seen = normal.stats()
        log = site.stderr()
        record.equal("process alive", site.alive(), wanted=True)
        record.equal("MemoryError in the log", log.count("MemoryError"), 0)
        record.equal("tracebacks in the log", log.count("Traceback"), 0)
        record.equal("canary's errors", seen["ended"] + seen["disorder"], 0)
        record.at_most("canary's p99", seen["delays"]["p99"], 100, "ms")
        record.note(
            f"{sum(done.values()):,} attacks of {count} at once in {seconds:.0f} s; resident at most "
            f"{max(watched.samples) / MIB:.0f} MiB"
        )
