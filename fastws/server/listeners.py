"""The addresses that a server listens at, and the files of its Unix sockets."""

from __future__ import annotations

import errno
import os
import socket
import ssl as ssl_module
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fastws.loop.state import LoopState, is_uvloop
from fastws.server.acceptor import Acceptor
from fastws.server.descriptors import (
    ACCEPTS_PER_TURN,
    accepts_in_bulk,
    inode,
    listen_again,
    remove_own,
    take_over,
)

if TYPE_CHECKING:
    import asyncio

__all__ = ["Listeners", "OpenListener"]

#: How often a port that is free at all addresses of a host is looked for.
PORT_ATTEMPTS = 16


class OpenListener(Protocol):
    """What listens, such as an ``asyncio.Server``."""

    @property
    def sockets(self) -> Any: ...
    def close(self) -> None: ...


class Listeners:
    """Opens them one after the other, and closes them together."""

    def __init__(self, loop: asyncio.AbstractEventLoop, loop_state: LoopState) -> None:
        self._loop = loop
        self._loop_state = loop_state
        self._listeners: list[OpenListener] = []
        #: The paths of Unix sockets, and which file each was when we began to listen there.
        self._paths: dict[str, tuple[int, int, int] | None] = {}
        self._poller: Any = None

    def __bool__(self) -> bool:
        """True from the first listener on, closed or not."""
        return bool(self._listeners)

    @property
    def sockets(self) -> tuple[Any, ...]:
        return tuple(sock for listener in self._listeners for sock in listener.sockets)

    async def listen(
        self,
        accept: Callable[[], Any],
        host: str | None,
        port: int,
        *,
        sock: socket.socket | None,
        unix: str | os.PathLike[str] | None,
        ssl: ssl_module.SSLContext | None,
        ssl_handshake_timeout: float,
        backlog: int,
        reuse_port: bool | None,
        acceptor: Acceptor | None = None,
    ) -> None:
        """Listen at one more address; ``accept`` makes the protocol of each client.

        An ``acceptor`` accepts there in place of the loop's own server.

        Raises ``OSError`` when the address cannot be had.
        """
        in_bulk = accepts_in_bulk(self._loop)
        # The loop's own server says nothing of a TLS handshake that fails.
        if acceptor is None and ssl is not None and (in_bulk or is_uvloop(self._loop)):
            acceptor = Acceptor()
        if acceptor is not None and sock is not None:
            sock.listen(backlog)
            self.add(acceptor.open(self._loop, sock, accept, ssl, ssl_handshake_timeout))
            return
        options: dict[str, Any] = {"backlog": min(backlog, ACCEPTS_PER_TURN) if in_bulk else backlog}
        if acceptor is not None:
            options["start_serving"] = False  # the loop only binds
        elif ssl is not None:
            options["ssl"] = ssl
            options["ssl_handshake_timeout"] = ssl_handshake_timeout
        listener = await self._open(accept, host, port, sock, unix, options, reuse_port=reuse_port)
        if acceptor is None:
            self.add(listener)
            if in_bulk and backlog > ACCEPTS_PER_TURN:
                for each in listener.sockets:
                    listen_again(each, backlog)
            return
        try:
            for each in listener.sockets:
                bound = socket.socket(fileno=os.dup(each.fileno()))
                self.add(acceptor.open(self._loop, bound, accept, ssl, ssl_handshake_timeout))
                bound.listen(backlog)
        finally:
            listener.close()

    async def _open(
        self,
        accept: Callable[[], Any],
        host: str | None,
        port: int,
        sock: socket.socket | None,
        unix: str | os.PathLike[str] | None,
        options: dict[str, Any],
        *,
        reuse_port: bool | None,
    ) -> asyncio.Server:
        """Open the loop's own server. Raises ``OSError`` when the address cannot be had."""
        is_unix = sock is not None and sock.family == getattr(socket, "AF_UNIX", None)
        if (is_unix or (unix is not None and "start_serving" in options)) and sys.version_info >= (3, 13):
            # The file of a given socket belongs to whoever has bound it: other processes may go on listening
            # there. Where the loop only binds, its server is closed at once and we listen there.
            options["cleanup_socket"] = False
        if unix is not None:
            path = os.fsdecode(unix)
            take_over(path)
            listener = await self._loop.create_unix_server(accept, path, **options)
            self._paths[path] = inode(path)
            return listener
        if is_unix:
            return await self._loop.create_unix_server(accept, sock=sock, **options)
        if sock is not None:
            return await self._loop.create_server(accept, sock=sock, **options)
        if reuse_port:
            options["reuse_port"] = True
        return await self._listen_tcp(accept, host, port, options)

    def _keep_poller(self) -> None:
        if self._poller is None and (poller := self._loop_state.poller_or_none()) is not None:
            self._poller = poller
            poller.keep()

    async def _listen_tcp(
        self, accept: Callable[[], Any], host: str | None, port: int, options: dict[str, Any]
    ) -> asyncio.Server:
        """Listen at all addresses of a host, at one port for all. Raises ``OSError`` where that cannot be."""
        listener = await self._loop.create_server(accept, host, port, **options)
        for _ in range(PORT_ATTEMPTS):
            ports = {sock.getsockname()[1] for sock in listener.sockets}
            if port or len(ports) == 1:
                return listener
            # The system chose a port for each address: take the first for all, if the others have it too.
            listener.close()
            for wanted in (ports.pop(), 0):
                try:
                    listener = await self._loop.create_server(accept, host, wanted, **options)
                    break
                except OSError as error:
                    if not wanted or error.errno != errno.EADDRINUSE:
                        raise
        listener.close()
        raise OSError(errno.EADDRINUSE, f"no port is free at all addresses of {host or 'this machine'}")

    def add(self, listener: OpenListener) -> None:
        """Take one that listens already, to be closed with the others."""
        self._listeners.append(listener)
        self._keep_poller()

    def close(self) -> None:
        """Stop to listen, and remove the files of our Unix sockets. Twice does no harm."""
        if self._poller is not None:
            self._poller.release()
            self._poller = None
        # First the files: as long as we listen, nobody takes a path over, and no other file has our inode.
        while self._paths:
            remove_own(*self._paths.popitem())
        for listener in self._listeners:
            listener.close()
