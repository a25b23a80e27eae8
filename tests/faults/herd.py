"""Many raw clients in a process of its own, so that their work is not the server's nor the test's.

Run as ``python -m tests.faults.herd PLAN`` (JSON, see :class:`Plan`). It opens the clients and prints
``ready``; each line ``stats`` on its stdin is answered by what it has seen since the last one, ``publish``
makes its first client speak at the plan's rate, ``hush`` ends that, and the end of stdin ends it.

A published message begins with its number and the moment it was sent (CLOCK_MONOTONIC, the same for all
processes of a machine), so whoever hears it knows the order and the delay.
"""

from __future__ import annotations

import array
import asyncio
import json
import resource
import socket
import ssl
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.live.raw import BINARY, CLOSE, PING, PONG, TEXT, Frame, frame, frames, upgrade

__all__ = ["Plan", "Quantiles"]

HEAD = 31  # "%010d %019d " in a published message


@dataclass(frozen=True)
class Plan:
    """What a herd is to do."""

    port: int
    count: int
    path: str = "/echo"
    #: ``hear``: read all; ``deaf``: read nothing; ``sip``: read ``sip`` bytes a second; ``echo``: speak and
    #: hear oneself every ``interval`` seconds.
    kind: str = "hear"
    host: str = "127.0.0.1"
    interval: float = 0.05
    sip: int = 1024
    #: Messages a second that the first client publishes, and their size.
    rate: float = 20.0
    size: int = 1024
    #: Bytes of the kernel's receive buffer and of a segment: what fits between us and the server.
    receive_buffer: int | None = None
    segment: int | None = None
    fields: tuple[str, ...] = ()
    ca: str | None = None
    #: Handshakes under way at the same time.
    at_once: int = 100

    @classmethod
    def from_json(cls, text: str) -> Plan:
        values = json.loads(text)
        return cls(**{**values, "fields": tuple(values.get("fields", ()))})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Quantiles:
    """Delays in milliseconds."""

    def __init__(self) -> None:
        self.values = array.array("d")

    def add(self, seconds: float) -> None:
        self.values.append(seconds * 1000)

    def summary(self) -> dict[str, float]:
        ordered = sorted(self.values)
        if not ordered:
            return {"count": 0}
        at = {name: ordered[min(int(len(ordered) * q), len(ordered) - 1)] for name, q in QUANTILES.items()}
        return {"count": len(ordered), **{name: round(value, 2) for name, value in at.items()}}


QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


class Seen:
    """What all clients of the herd saw together."""

    def __init__(self) -> None:
        self.delays = Quantiles()
        self.messages = 0
        self.disorder = 0
        self.pings = 0
        #: Pings of one client in one second, at most.
        self.ping_burst = 0
        self.closes: dict[str, int] = {}
        self.ended = 0

    def close(self, code: int) -> None:
        self.closes[str(code)] = self.closes.get(str(code), 0) + 1

    def report(self) -> dict[str, Any]:
        values = {key: value for key, value in vars(self).items() if key != "delays"}
        return {**values, "delays": self.delays.summary()}


class Client(asyncio.Protocol):
    """One client that keeps the rules; ``seen`` is the herd's."""

    def __init__(self, herd: Herd) -> None:
        self.herd = herd
        self.transport: Any = None
        self.data = bytearray()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.number: int | None = None
        self.ended = False
        self.waiting: tuple[bytes, float] | None = None
        self._ping_second = (0, 0)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(upgrade(self.herd.plan.path, *self.herd.plan.fields))

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.opened.done() and not self._open():
            return
        whole = frames(self.data)
        if whole:
            del self.data[: sum(each.size for each in whole)]
            now = time.monotonic()
            for each in whole:
                self.take(each, now)

    def _open(self) -> bool:
        head, end, rest = bytes(self.data).partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101 "):
            self.opened.set_exception(ConnectionError(head[:60].decode("latin-1")))
            self.transport.abort()
            return False
        self.data = bytearray(rest)
        self.opened.set_result(None)
        if self.herd.plan.kind == "deaf":
            self.transport.pause_reading()
        return True

    def take(self, each: Frame, now: float) -> None:
        seen = self.herd.seen
        if each.opcode == PING:
            seen.pings += 1
            second, count = self._ping_second
            self._ping_second = (int(now), count + 1 if second == int(now) else 1)
            seen.ping_burst = max(seen.ping_burst, self._ping_second[1])
            self.transport.write(frame(PONG, each.payload))
        elif each.opcode == CLOSE:
            seen.close(each.code)
            self.transport.write(frame(CLOSE, each.payload[:2]))
        elif each.opcode in (TEXT, BINARY):
            seen.messages += 1
            if self.herd.plan.kind == "echo":
                self._echoed(each.payload, now)
            else:
                self._heard(each.payload, now)

    def _heard(self, payload: bytes, now: float) -> None:
        number, sent = int(payload[:10]), int(payload[11:30])
        self.herd.seen.disorder += self.number is not None and number != self.number + 1
        self.number = number
        self.herd.seen.delays.add(now - sent / 1e9)

    def speak(self) -> None:
        """Echo: the next message, unless the one before is still on its way."""
        if self.waiting is None and not self.ended:
            message = b"%020d" % time.monotonic_ns()
            self.waiting = (message, time.monotonic())
            self.transport.write(frame(BINARY, message))

    def _echoed(self, payload: bytes, now: float) -> None:
        if self.waiting is None or payload != self.waiting[0]:
            self.herd.seen.disorder += 1
            return
        self.herd.seen.delays.add(now - self.waiting[1])
        self.waiting = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        if self.opened.done() and self.opened.exception() is None:
            self.herd.seen.ended += 1
        elif not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("ended before the answer"))


class Sipper:
    """A client that reads so many bytes a second, and checks what it reads."""

    def __init__(self, herd: Herd, sock: socket.socket) -> None:
        self.herd, self.sock = herd, sock
        self.data = bytearray()
        self.ended = False
        self.number: int | None = None

    def sip(self) -> None:
        try:
            data = self.sock.recv(self.herd.plan.sip)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended = True
            self.herd.seen.ended += 1
            self.sock.close()
            return
        self.data += data
        whole = frames(self.data)
        del self.data[: sum(each.size for each in whole)]
        for each in whole:
            if each.opcode == CLOSE:
                self.herd.seen.close(each.code)
            elif each.opcode in (TEXT, BINARY):
                number = int(each.payload[:10])
                # Messages may be missing where the policy drops them; their order may not change.
                self.herd.seen.disorder += self.number is not None and number <= self.number
                self.number = number
                self.herd.seen.messages += 1


class Herd:
    """All clients of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seen = Seen()
        self.clients: list[Client] = []
        self.sippers: list[Sipper] = []
        self.refused: dict[str, int] = {}
        self._tls = ssl.create_default_context(cafile=plan.ca) if plan.ca else None
        self._speaking: asyncio.Task[None] | None = None
        self._published = 0

    async def open(self) -> dict[str, Any]:
        started = time.monotonic()
        gate = asyncio.Semaphore(self.plan.at_once)

        async def one() -> None:
            async with gate:
                try:
                    async with asyncio.timeout(60):
                        await self._connect()
                except (OSError, EOFError) as error:
                    text = str(error) or type(error).__name__
                    self.refused[text] = self.refused.get(text, 0) + 1

        await asyncio.gather(*[one() for _ in range(self.plan.count)])
        opened = len(self.clients) + len(self.sippers)
        return {"opened": opened, "refused": self.refused, "seconds": time.monotonic() - started}

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.settimeout(0)
        if self.plan.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.plan.receive_buffer)
        if self.plan.segment:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, self.plan.segment)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.sock_connect(sock, (self.plan.host, self.plan.port))
            if self.plan.kind == "sip":
                await self._open_sipper(sock)
                return
            name = "127.0.0.1" if self._tls else None
            _, client = await loop.create_connection(
                lambda: Client(self), sock=sock, ssl=self._tls, server_hostname=name
            )
        except BaseException:
            sock.close()
            raise
        await client.opened
        self.clients.append(client)

    async def _open_sipper(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, upgrade(self.plan.path, *self.plan.fields))
        sipper = Sipper(self, sock)
        while b"\r\n\r\n" not in sipper.data:
            data = await loop.sock_recv(sock, 512)
            if not data:
                raise ConnectionError("ended before the answer")
            sipper.data += data
        sipper.data = sipper.data.partition(b"\r\n\r\n")[2]
        self.sippers.append(sipper)

    async def work(self) -> None:
        """What the clients do by themselves until the end."""
        if self.plan.kind == "sip":
            while True:
                for sipper in self.sippers:
                    if not sipper.ended:
                        sipper.sip()
                await asyncio.sleep(1)
        if self.plan.kind == "echo":
            # Spread over the interval: one message at a time leaves.
            pause = self.plan.interval / max(len(self.clients), 1)
            due = time.monotonic()
            while True:
                for client in self.clients:
                    client.speak()
                    due += pause
                    await asyncio.sleep(due - time.monotonic())

    async def _publish(self) -> None:
        due = time.monotonic()
        while True:
            head = b"%010d %019d " % (self._published, time.monotonic_ns())
            self.clients[0].transport.write(frame(BINARY, head.ljust(self.plan.size, b".")))
            self._published += 1
            due += 1 / self.plan.rate
            await asyncio.sleep(due - time.monotonic())

    async def obey(self, command: str) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        if command == "publish":
            self._speaking = loop.create_task(self._publish())
        elif command == "hush" and self._speaking is not None:
            self._speaking.cancel()
        report = {**self.seen.report(), "published": self._published}
        report["unanswered"] = sum(client.waiting is not None for client in self.clients)
        if command == "stats":
            ended = self.seen.ended
            self.seen = Seen()
            self.seen.ended = ended
        return report

    def leave(self) -> None:
        for client in self.clients:
            client.transport.abort()
        for sipper in self.sippers:
            sipper.sock.close()


def say(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


async def main(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    herd = Herd(plan)
    say(await herd.open())
    working = loop.create_task(herd.work())
    while line := await commands.readline():
        say(await herd.obey(line.decode().strip()))
    working.cancel()
    await herd.obey("hush")
    herd.leave()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        import uvloop

        factory: Any = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(Plan.from_json(sys.argv[1])))
