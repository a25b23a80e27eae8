"""Parses the addresses to listen on and opens the listening sockets.

They are opened here and not by the event loop, so that a busy port is one line on stderr before anything
else has started.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from fastws._version import __version__
from fastws.cli.build import build_text
from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.logs import say
from fastws.server.descriptors import inode, is_socket, take_over
from fastws.server.listeners import PORT_ATTEMPTS

__all__ = [
    "ListenAddress",
    "Listener",
    "TCPAddress",
    "UnixAddress",
    "FDAddress",
    "announce",
    "open_listeners",
    "parse_address",
    "unix_files",
]


@dataclass(frozen=True, slots=True)
class TCPAddress:
    """A host and a port. An empty host: all addresses of the machine. Port 0: a free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class FDAddress:
    """The file descriptor of a socket that our parent process has opened."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


ListenAddress = TCPAddress | UnixAddress | FDAddress

#: Hosts that stand for many addresses.
WILDCARDS = {
    "": " (on every address)",
    "0.0.0.0": " (on every IPv4 address)",
    "::": " (on every IPv6 address)",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """An address and its listening sockets. A name such as ``localhost`` can have several."""

    address: ListenAddress
    sockets: list[socket.socket]

    def url(self, scheme: str) -> str:
        """What a user can open, with the real port."""
        if isinstance(self.address, UnixAddress):
            return str(self.address)
        name = self.sockets[0].getsockname()
        if self.sockets[0].family == socket.AF_UNIX:
            return f"unix:{name}"
        host = self.address.host if isinstance(self.address, TCPAddress) else name[0]
        if host == "::" and takes_ipv4(self.sockets[0]):
            host = ""
        note = WILDCARDS.get(host, "")
        if host in WILDCARDS:
            host = "::1" if host == "::" else "127.0.0.1"
        return f"{scheme}://{bracketed(host)}:{name[1]}{note}"


def takes_ipv4(sock: socket.socket) -> bool:
    """True for a socket of IPv6 that takes IPv4 too, as systemd gives them."""
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parse_address(text: str) -> ListenAddress:
    """Parse ``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT``, ``unix:PATH`` or ``fd://N``.

    Raises click.UsageError.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise click.UsageError(f"--bind {text!r} names no path; write unix:PATH")
        return UnixAddress(path)
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not (number.isascii() and number.isdigit()):
            raise click.UsageError(f"--bind {text!r} names no descriptor; write fd://N")
        return FDAddress(int(number))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise click.UsageError(f"--bind {text!r} is not HOST:PORT, unix:PATH or fd://N")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise click.UsageError(f"--bind {text!r}: write an IPv6 address in brackets, [::1]:8080")
    if int(port) > 65535:
        raise click.UsageError(f"--bind {text!r}: there is no port above 65535")
    return TCPAddress(host.strip("[]"), int(port))


def open_listeners(addresses: list[ListenAddress], backlog: int) -> list[Listener]:
    """Open all of them. Raises `CannotStart` where one cannot be opened, and then closes the others.

    ``backlog``: how many connections may wait in each to be accepted (listen(2)).
    """
    with contextlib.ExitStack() as opened:
        listeners = []
        for address in addresses:
            listener = Listener(address, open_sockets(address, backlog))
            for sock in listener.sockets:
                opened.callback(sock.close)
                sock.settimeout(0)
            listeners.append(listener)
        opened.pop_all()
    return listeners


def taken(address: ListenAddress) -> bool:
    """Return whether somebody listens at an address of TCP now. Nobody can connect meanwhile.

    Raises `CannotStart` where nobody can listen, now or later.
    """
    if not isinstance(address, TCPAddress):
        return False
    try:
        for sock in open_tcp(address, None):
            sock.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise CannotStart(f"cannot listen on {address}: {explain(error, address)}") from error
    return False


def open_sockets(address: ListenAddress, backlog: int) -> list[socket.socket]:
    try:
        if isinstance(address, TCPAddress):
            return open_tcp(address, backlog)
        if isinstance(address, UnixAddress):
            return [open_unix(address, backlog)]
        return [open_fd(address, backlog)]
    except OSError as error:
        raise CannotStart(f"cannot listen on {address}: {explain(error, address)}") from error


def explain(error: OSError, address: ListenAddress) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if error.errno == errno.EADDRINUSE:
        if isinstance(address, UnixAddress) and not is_socket(address.path):
            return "there is a file that is no socket"
        return "it is in use by another program"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    if error.errno in (errno.EACCES, errno.EPERM) and isinstance(address, TCPAddress):
        return "no permission (ports below 1024 usually need root)"
    return os_error_text(error)


def open_tcp(address: TCPAddress, backlog: int | None) -> list[socket.socket]:
    """Open a socket for each address of the host, all on the same port. None: they do not listen."""
    infos = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    addresses = list(dict.fromkeys((info[0], str(info[4][0])) for info in infos))
    for attempt in range(1, PORT_ATTEMPTS + 1):
        try:
            return open_all(addresses, address.port, backlog)
        except OSError as error:
            # A port that was free at the first address may be in use at the second.
            free = address.port == 0 and error.errno == errno.EADDRINUSE
            if not free or attempt == PORT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def open_all(
    addresses: Sequence[tuple[socket.AddressFamily, str]], port: int, backlog: int | None
) -> list[socket.socket]:
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        unavailable: OSError | None = None
        for family, host in addresses:
            try:
                sock = listen_tcp(family, host, sockets[0].getsockname()[1] if sockets else port, backlog)
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


def listen_tcp(family: int, host: str, port: int, backlog: int | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would allow two servers on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        if backlog is not None:
            sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def open_unix(address: UnixAddress, backlog: int) -> socket.socket:
    """Listen on a path. A socket that a dead server has left there is replaced; one that answers is not."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        take_over(address.path)
        sock.bind(address.path)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def open_fd(address: FDAddress, backlog: int) -> socket.socket:
    # A copy, so that closing ours leaves the caller's descriptor as it was.
    sock = socket.socket(fileno=os.dup(address.fd))
    try:
        if sock.type != socket.SOCK_STREAM:
            raise OSError(errno.EINVAL, "it is not a stream socket")
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def unix_files(addresses: list[ListenAddress]) -> list[tuple[str, tuple[int, int, int] | None]]:
    """The paths of Unix sockets, and which file each is now, for :func:`remove_own`."""
    return [(address.path, inode(address.path)) for address in addresses if isinstance(address, UnixAddress)]


def announce(listeners: list[Listener], schemes: list[str], options: Mapping[str, Any]) -> None:
    """Say where the server is: to stderr at any log level, for a user of --port 0 learns the port from it.

    ``schemes``: ``http`` or ``https`` of each listener; of all of them where there is one. ``options``: those
    of ``fastws serve``.
    """
    build = f"; {build_text(options['loop'])}, fastws {__version__}"
    if options["config"] is not None:
        build += f", options of {options['config']}"
    for index, listener in enumerate(listeners):
        scheme = schemes[min(index, len(schemes) - 1)]
        say(f"Serving on {listener.url(scheme)} (press Ctrl-C to stop){build}")
        build = ""
