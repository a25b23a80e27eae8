"""Where to listen: what people write, and the listening sockets that come of it.

The sockets are opened here and not by the event loop, so that a busy port is one line on stderr
before anything else has started.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from dataclasses import dataclass

import click

from fastws.cli.errors import CannotStart, os_error_text
from fastws.server.descriptors import is_socket, take_over

__all__ = ["Bind", "Listener", "TCPBind", "UnixBind", "FDBind", "open_listeners", "parse_bind"]


@dataclass(frozen=True, slots=True)
class TCPBind:
    """A host and a port; an empty host is every address of the machine, port 0 a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixBind:
    """A path in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class FDBind:
    """A socket that whoever started us has opened."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


Bind = TCPBind | UnixBind | FDBind


@dataclass(frozen=True, slots=True)
class Listener:
    """A bind and its listening sockets: a name such as ``localhost`` can have several."""

    bind: Bind
    sockets: list[socket.socket]

    def address(self, scheme: str) -> str:
        """What a person can open, with the real port."""
        if isinstance(self.bind, UnixBind):
            return str(self.bind)
        name = self.sockets[0].getsockname()
        if self.sockets[0].family == socket.AF_UNIX:
            return f"unix:{name}"
        host = self.bind.host if isinstance(self.bind, TCPBind) else name[0]
        note = ""
        if host in ("", "0.0.0.0", "::"):
            note = {"": " (on every address)", "0.0.0.0": " (on every IPv4 address)"}.get(
                host, " (on every IPv6 address)"
            )
            host = "::1" if host == "::" else "127.0.0.1"
        return f"{scheme}://{bracketed(host)}:{name[1]}{note}"


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parse_bind(text: str) -> Bind:
    """``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT``, ``unix:PATH`` or ``fd://N``."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise click.UsageError(f"--bind {text!r} names no path; write unix:PATH")
        return UnixBind(path)
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not (number.isascii() and number.isdigit()):
            raise click.UsageError(f"--bind {text!r} names no descriptor; write fd://N")
        return FDBind(int(number))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise click.UsageError(f"--bind {text!r} is not HOST:PORT, unix:PATH or fd://N")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise click.UsageError(f"--bind {text!r}: write an IPv6 address in brackets, [::1]:8080")
    if int(port) > 65535:
        raise click.UsageError(f"--bind {text!r}: there is no port above 65535")
    return TCPBind(host.strip("[]"), int(port))


def open_listeners(binds: list[Bind], backlog: int) -> list[Listener]:
    """Open them all or none. Raises `CannotStart` with the first that cannot be had."""
    with contextlib.ExitStack() as opened:
        listeners = []
        for bind in binds:
            listener = Listener(bind, open_sockets(bind, backlog))
            for sock in listener.sockets:
                opened.callback(sock.close)
                sock.setblocking(False)
            listeners.append(listener)
        opened.pop_all()
    return listeners


def open_sockets(bind: Bind, backlog: int) -> list[socket.socket]:
    try:
        if isinstance(bind, TCPBind):
            return open_tcp(bind, backlog)
        if isinstance(bind, UnixBind):
            return [open_unix(bind, backlog)]
        return [open_fd(bind, backlog)]
    except OSError as error:
        raise CannotStart(f"cannot listen on {bind}: {explain(error, bind)}") from error


def explain(error: OSError, bind: Bind) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if error.errno == errno.EADDRINUSE:
        if isinstance(bind, UnixBind) and not is_socket(bind.path):
            return "there is a file that is no socket"
        return "it is in use by another program"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    if error.errno in (errno.EACCES, errno.EPERM) and isinstance(bind, TCPBind):
        return "no permission (ports below 1024 usually need root)"
    return os_error_text(error)


def open_tcp(bind: TCPBind, backlog: int) -> list[socket.socket]:
    """One socket for each address of the host, all on the same port."""
    infos = socket.getaddrinfo(bind.host or None, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((info[0], info[4][0]) for info in infos))
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        unavailable: OSError | None = None
        for family, host in addresses:
            port = sockets[0].getsockname()[1] if sockets else bind.port
            try:
                sock = listen_tcp(family, str(host), port, backlog)
            except OSError as error:
                # A machine without IPv6 still resolves localhost to ::1.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable = error
                continue
            opened.callback(sock.close)
            sockets.append(sock)
        if not sockets:
            assert unavailable is not None
            raise unavailable
        opened.pop_all()
    return sockets


def listen_tcp(family: int, host: str, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would allow two servers on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def open_unix(bind: UnixBind, backlog: int) -> socket.socket:
    """Take the path over from a server that is gone, but never from one that still answers."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        take_over(bind.path)
        sock.bind(bind.path)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def open_fd(bind: FDBind, backlog: int) -> socket.socket:
    # A copy, so that closing ours leaves the caller's descriptor as it was.
    sock = socket.socket(fileno=os.dup(bind.fd))
    try:
        if sock.type != socket.SOCK_STREAM:
            raise OSError(errno.EINVAL, "it is not a stream socket")
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
