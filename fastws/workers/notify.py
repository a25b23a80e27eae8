"""Tell systemd the state of the service (sd_notify(3)): a datagram to the socket of NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time

__all__ = ["notify_ready", "notify_reloading", "notify_stopping"]


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
