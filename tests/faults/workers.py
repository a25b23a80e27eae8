"""F5, F9, F12 and the bus: what happens to several workers, and to what they tell each other."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.faults.harness import Record, Site, eventually, herd, row, server
from tests.live.raw import TEXT, Peer, frame
from tests.live.servers import make_certificates

READY = re.compile(r"worker \d+ \(pid (\d+)\) is ready")
OPTIONS = ("--no-access-log", "--timeout-drain", "3")
#: Bytes of a frame's header, by the size of its message.
SMALL, LARGE = 2, 4


def ready(site: Site) -> list[int]:
    """The processes of the workers that have become ready, in that order."""
    return [int(pid) for pid in READY.findall(site.stderr())]


def wait_ready(site: Site, count: int) -> float:
    return eventually(lambda: len(ready(site)) >= count, 30)


class Asker:
    """A client of one worker that asks it, and hears nothing else."""

    def __init__(self, site: Site) -> None:
        self.peer = Peer(site.port)
        self.peer.upgrade("/shared/ask")
        self.pid = int(self.ask("who"))

    def tell(self, text: str) -> None:
        self.peer.send(frame(TEXT, text.encode()))

    def ask(self, text: str) -> str:
        self.tell(text)
        return self.peer.frame().payload.decode()


@contextmanager
def askers(site: Site, count: int) -> Iterator[list[Asker]]:
    """One client of each worker, by the numbers of their processes."""
    found: dict[int, Asker] = {}
    more = []
    while len(found) < count:
        asker = Asker(site)
        more.append(asker)
        found.setdefault(asker.pid, asker)
    try:
        yield [found[pid] for pid in sorted(found)]
    finally:
        for asker in more:
            asker.peer.sock.close()


class Ear:
    """A client of one worker that keeps what it hears, and when it came; nothing is parsed meanwhile."""

    def __init__(self, site: Site, pid: int) -> None:
        while True:
            self.peer = Peer(site.port)
            self.peer.upgrade("/shared/hear")
            self.peer.send(frame(TEXT, b"who"))
            if int(self.peer.frame().payload) == pid:
                break
            self.peer.sock.close()
        self.sock = self.peer.sock
        self.chunks: list[tuple[int, bytes]] = []
        self.size = 0

    def heard(self, size: int) -> list[tuple[int, int, int]]:
        """Return number, time of publishing and time of arrival of each message of so many bytes.

        A gap is (-1, how many, when).
        """
        found, data = [], bytearray()
        head = SMALL if size < 126 else LARGE
        for came, chunk in self.chunks:
            data += chunk
            at = 0
            while len(data) - at > SMALL:
                if data[at] == 0x81:  # a text: a gap
                    stop = at + 2 + data[at + 1]
                    found.append((-1, int(data[at + 2 : stop].split()[1]), came))
                else:
                    stop = at + head + size
                    if stop > len(data):
                        break
                    text = data[at + head : at + head + 30]
                    found.append((int(text[:10]), int(text[11:30]), came))
                at = stop
            del data[:at]
        return found


def listen(ears: list[Ear], speak: Callable[[], object], silence: float = 2.0) -> None:
    """Let all hear until ``speak`` has returned, and nothing has come for a while."""
    by_fd = {ear.sock.fileno(): ear for ear in ears}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    speaking = threading.Thread(target=speak)
    speaking.start()
    last = time.monotonic()
    while speaking.is_alive() or time.monotonic() - last < silence:
        for fd, _ in poll.poll(100):
            data = by_fd[fd].sock.recv(1 << 18)
            by_fd[fd].chunks.append((time.monotonic_ns(), data))
            last = time.monotonic()
            if not data:
                poll.unregister(fd)


def delays(heard: list[tuple[int, int, int]]) -> list[float]:
    """Milliseconds from the publish to the client."""
    return [(came - sent) / 1e6 for number, sent, came in heard if number >= 0]


def in_order(heard: list[tuple[int, int, int]], lost: int = 0) -> int:
    """How many messages are out of order or double; with ``lost``, those that are missing are no disorder."""
    numbers = [number for number, _, _ in heard if number >= 0]
    steps = [after - before for before, after in pairwise(numbers)]
    return sum(step < 1 or (step > 1 and not lost) for step in steps)


@row("bus", "a client publishes 20,000 messages of 64 bytes a second to clients of two workers")
def bus(record: Record) -> None:
    with server("--workers", "2", *OPTIONS) as site:
        wait_ready(site, 2)
        rounds = [_spoken(record, site) for _ in range(record.choose(5, 1))]
    record.at_least("messages a second", min(each.rate for each in rounds), record.choose(19_500, 1))
    record.note(f"{sum(each.sent for each in rounds):,} messages in {len(rounds)} rounds")
    for number, name in enumerate(("the same", "the other")):
        heard = [each.heard[number] for each in rounds]
        missing = sum(each.sent for each in rounds) - sum(len(each) for each in heard)
        record.equal(f"{name} worker's client: messages missing", missing, 0)
        record.equal(f"{name} worker's client: out of order or double", sum(map(in_order, heard)), 0)
    medians = [[statistics.median(delays(heard)) for heard in each.heard] for each in rounds]
    if record.full:
        ratio = statistics.median(there / here for here, there in medians)
        record.at_most("p50 at the other worker, times that at the same", ratio, 1.3)
    told = ", ".join(f"{here * 1000:.0f} and {there * 1000:.0f}" for here, there in medians)
    record.note(f"p50 at the same worker and at the other, of the same messages: {told} µs")


@dataclass
class Spoken:
    """What was sent in a round, and heard at the speaker's worker and at the other one."""

    sent: int
    rate: float
    heard: list[list[tuple[int, int, int]]]


def _spoken(record: Record, site: Site) -> Spoken:
    seconds, report = record.choose(5, 1), {"published": 0}
    with (
        herd(site, 1, path="/shared/speak", rate=20_000.0, size=64) as speaker,
        askers(site, 2) as found,
    ):
        found.sort(key=lambda asker: asker.ask("speakers"), reverse=True)
        ears = [Ear(site, asker.pid) for asker in found]

        def speak() -> None:
            speaker.tell("publish")
            time.sleep(seconds)
            speaker.tell("hush")
            report.update(speaker.stats())

        listen(ears, speak)
    for ear in ears:
        ear.sock.close()
    return Spoken(report["published"], report["published"] / seconds, [ear.heard(64) for ear in ears])


@row("bus-stopped", "one of three workers stands still (SIGSTOP) while another publishes 8 MB a second")
def stopped(record: Record) -> None:
    _stopped(record, 1.0, lost=False)
    _stopped(record, record.choose(12.0, 1.0), lost=record.full)


def _stopped(record: Record, standstill: float, *, lost: bool) -> None:
    seconds, size = standstill + 4, 1000
    rate = 8_000_000 // size
    with server("--workers", "3", *OPTIONS) as site:
        wait_ready(site, 3)
        with askers(site, 3) as (one, two, three):
            ears = [Ear(site, two.pid), Ear(site, three.pid)]
            moments: list[int] = []
            stopper = threading.Thread(target=_stop, args=(three.pid, 2.0, standstill, moments))
            one.peer.sock.settimeout(seconds + 60)
            stopper.start()
            listen(ears, lambda: one.ask(f"go {rate} {seconds} {size}"))
            stopper.join()
            near, far = [ear.heard(size) for ear in ears]
            total, name = int(rate * seconds), f"{standstill:.0f} s"
            record.equal(f"{name}: messages at the other's client", len(near), total)
            record.equal(f"{name}: out of order there", in_order(near), 0)
            before = [d for _, sent, d in _timed(near) if sent < moments[0]]
            during = [d for _, sent, d in _timed(near) if moments[0] <= sent < moments[1]]
            here, there = statistics.median(before), statistics.median(during)
            if record.full and not lost:
                record.at_most(f"{name}: the other's p50, times that before", there / here, 1.3)
            record.note(f"{name}: the other's p50 {there:.2f} ms, before {here:.2f} ms")
            told = sum(count for number, count, _ in far if number < 0)
            got = sum(number >= 0 for number, _, _ in far)
            record.equal(f"{name}: messages at the stopped one's client, and told missing", got + told, total)
            record.equal(f"{name}: out of order or double there", in_order(far, told), 0)
            if lost:
                record.at_least(f"{name}: told missing", told, 1)
            else:
                record.equal(f"{name}: told missing", told, 0)
            for ear in ears:
                ear.sock.close()


def _timed(heard: list[tuple[int, int, int]]) -> list[tuple[int, int, float]]:
    return [(number, sent, (came - sent) / 1e6) for number, sent, came in heard if number >= 0]


def _stop(pid: int, wait: float, seconds: float, moments: list[int]) -> None:
    time.sleep(wait)
    os.kill(pid, signal.SIGSTOP)
    moments.append(time.monotonic_ns())
    time.sleep(seconds)
    moments.append(time.monotonic_ns())
    os.kill(pid, signal.SIGCONT)


@row("F5", "kill -9 of one of 2 workers with 500 clients each, 20 messages a second")
def killed(record: Record) -> None:
    clients = record.choose(1000, 100)
    with server("--workers", "2", *OPTIONS) as site:
        wait_ready(site, 2)
        with askers(site, 2) as (one, two), herd(site, clients, path="/shared/hear") as all_of_them:
            staying, going = int(one.ask("count")), int(two.ask("count"))
            one.tell("go 20 3600 1024")
            time.sleep(record.choose(5, 1))
            before = all_of_them.stats()
            os.kill(two.pid, signal.SIGKILL)
            killed_at = time.monotonic()
            back = wait_ready(site, 3)
            record.at_most("another worker is ready after", back, record.choose(2, 10), "s")
            with herd(site, going, path="/shared/hear") as again:
                record.equal("those who come back: connected", again.opening["opened"], going)
                record.at_most(
                    "the last of them after", time.monotonic() - killed_at, record.choose(5, 20), "s"
                )
                time.sleep(record.choose(5, 1))
                after, new = all_of_them.stats(), again.stats()
            record.equal("clients of the killed one that ended", after["ended"], going)
            record.at_least("clients of the other one", int(one.ask("count")), staying)
            record.equal("their messages out of order or lost", after["disorder"], 0)
            record.equal("those of the newcomers", new["disorder"], 0)
            quantiles = before["delays"]["p99"], after["delays"]["p99"]
            if record.full:
                record.at_most("their p99, times that before", quantiles[1] / quantiles[0], 2)
            record.note(f"{staying} clients stayed with a p99 of {quantiles[1]} ms, {going} came back")
        _crash_loop(record, site)


def _crash_loop(record: Record, site: Site) -> None:
    """Five more kills: the restarts back off, and the supervisor lives."""
    began = time.monotonic()
    for _ in range(5):
        os.kill(ready(site)[-1], signal.SIGKILL)
        wait_ready(site, len(ready(site)) + 1)
    seconds = time.monotonic() - began
    record.at_least("5 kills, each as soon as there is another worker: seconds", seconds, 5, "s")
    record.equal("exit code of the supervisor", site.process.poll(), None)
    with Asker(site).peer:
        pass


@row("F9", "a rolling reload (SIGHUP) of 2 workers, 1,000 clients that come back")
def reloaded(record: Record) -> None:
    clients = record.choose(1000, 100)
    with server("--workers", "2", *OPTIONS) as site:
        wait_ready(site, 2)
        with herd(site, clients, path="/shared/hear") as old:
            answers: list[str] = []
            stop = threading.Event()
            knocking = threading.Thread(target=_knock, args=(site.port, stop, answers))
            knocking.start()
            for number in range(record.choose(3, 1)):
                site.process.send_signal(signal.SIGHUP)
                wait_ready(site, 2 * number + 4)
            with herd(site, clients, path="/shared/hear") as again:
                eventually(lambda: old.tell("hush")["ended"] >= clients, 30)
                stop.set()
                knocking.join()
                seen = old.tell("hush")
                record.equal("clients that come back: connected", again.opening["opened"], clients)
                record.equal("those that were refused", again.opening["refused"], {})
            record.equal("open WebSockets, by the codes of their close", seen["closes"], {"1012": clients})
            record.at_least("connections meanwhile", len(answers), 100)
            record.equal("those that failed", [each for each in answers if each][:3], [])


def _knock(port: int, stop: threading.Event, answers: list[str]) -> None:
    """Connect, say something and go, all the time; each leaves "" or what went wrong."""
    while not stop.is_set():
        try:
            with Peer(port) as peer:
                peer.upgrade("/shared/ask")
                peer.send(frame(TEXT, b"count"))
                peer.frame()
            answers.append("")
        except Exception as error:  # whatever it is, it is one that failed
            answers.append(f"{type(error).__name__}: {error}"[:100])


@row("F12", "certificates renewed under 1,000 wss, then broken ones, a wrong key, none")
def renewed(record: Record) -> None:
    clients = record.choose(1000, 50)
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(3)]
        live, first, second = folders
        for folder in (first, second):
            make_certificates(folder)
        _put(first, live)
        options = ["--ssl-certfile", str(live / "server.pem"), "--ssl-keyfile", str(live / "server-key.pem")]
        site = stack.enter_context(server("--workers", "2", *OPTIONS, *options))
        wait_ready(site, 2)
        site.ca = str(first / "ca.pem")
        old = _certificate(site)
        held = stack.enter_context(herd(site, clients, path="/shared/hear"))
        record.equal("wss clients", held.opening["opened"], clients)
        _put(second, live)
        took = eventually(lambda: all(_certificate(site) != old for _ in range(6)), 10)
        record.at_most("six handshakes see the new one after", took, record.choose(2.5, 10), "s")
        new = _certificate(site)
        for name, break_it in {
            "a broken file": lambda: (live / "server.pem").write_text("rubbish"),
            "the key of another": lambda: shutil.copy(first / "server-key.pem", live / "server-key.pem"),
            "no file": lambda: (live / "server.pem").unlink(),
        }.items():
            _put(second, live)
            lines = site.stderr().count("stay as they were")
            break_it()
            eventually(lambda was=lines: site.stderr().count("stay as they were") >= was + 1, 10)  # type: ignore[misc]
            time.sleep(1.5)
            said = site.stderr().count("stay as they were") - lines
            record.equal(f"{name}: lines of both workers together", said, 1)
            record.equal(f"{name}: handshakes with another certificate", int(_certificate(site) != new), 0)
            _put(second, live)
            time.sleep(2.5)
        record.equal("wss clients that ended", held.stats()["ended"], 0)


def _put(source: Path, target: Path) -> None:
    """Replace both files, each at once, as certbot does."""
    for name in ("server-key.pem", "server.pem"):
        shutil.copy(source / name, target / "new")
        (target / "new").rename(target / name)


def _certificate(site: Site) -> bytes:
    """What a handshake shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", site.port), 5) as sock, context.wrap_socket(sock) as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""
