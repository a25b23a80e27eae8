"""Tell systemd the state of the service (sd_notify(3)): a datagram to the socket of NOTIFY_SOCKET."""

from __future__ import annotations

import asyncio
import os
import socket
import time

__all__ = [
    "Watchdog",
    "beat_watchdog",
    "notify_ready",
    "notify_reloading",
    "notify_stopping",
    "watchdog_seconds",
]


def notify(text: str) -> None:
    """Send ``text`` where systemd listens. Nothing happens without NOTIFY_SOCKET, or when systemd is away."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    if path.startswith("@"):
        path = "\0" + path[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0)
            sock.sendto(text.encode(), path)
    except OSError:
        pass


def notify_ready() -> None:
    """The service is up, or a reload has ended."""
    notify("READY=1")


def notify_reloading() -> None:
    """A reload begins; ``Type=notify-reload`` wants the time as well."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> None:
    """The service goes down."""
    notify("STOPPING=1")


def watchdog_seconds() -> float | None:
    """Return how often systemd wants a sign of life: in half of WATCHDOG_USEC; None: it wants none."""
    wanted, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or not int(wanted) or pid not in ("", str(os.getpid())):
        return None
    return int(wanted) / 2e6


async def beat_watchdog() -> None:
    """Give signs of life as long as the running loop turns; until cancelled."""
    seconds = watchdog_seconds()
    while seconds is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds)


class Watchdog:
    """The same for a process that looks at the clock itself."""

    def __init__(self) -> None:
        self._seconds = watchdog_seconds()
        self._due = 0.0

    def beat(self, now: float) -> None:
        """Give a sign of life where one is due."""
        if self._seconds is not None and now >= self._due:
            self._due = now + self._seconds
            notify("WATCHDOG=1")
