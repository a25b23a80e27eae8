"""Where a client connects to: a socket of its own, a Unix socket, a proxy or plain TCP; with TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl as ssl_module
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from fastws.client.happy_eyeballs import STAGGER, create_connection
from fastws.client.proxy import Proxy, from_environment, open_tunnel, parse_proxy, socks_socket
from fastws.client.url import Address, certificate_name
from fastws.config import NEVER
from fastws.errors import InvalidURL

__all__ = ["Target", "TargetOptions"]


class TargetOptions(TypedDict, total=False):
    """The fields of :class:`Target` that ``connect()`` takes as keyword arguments."""

    ssl: ssl_module.SSLContext | None
    server_hostname: str | None
    sock: socket.socket | None
    unix: str | os.PathLike[str] | None
    host: str | None
    port: int | None
    local_addr: tuple[str, int] | None
    happy_eyeballs_delay: float
    proxy: str | bool | None
    proxy_ssl: ssl_module.SSLContext | None


@dataclass(frozen=True, slots=True)
class Target:
    """The options of ``connect()`` that decide where it connects to, and how."""

    ssl: ssl_module.SSLContext | None = None
    server_hostname: str | None = None
    tls_handshake: float | None = 10.0
    sock: socket.socket | None = None
    unix: str | os.PathLike[str] | None = None
    host: str | None = None
    port: int | None = None
    local_addr: tuple[str, int] | None = None
    happy_eyeballs_delay: float = STAGGER
    proxy: str | bool | None = True
    proxy_ssl: ssl_module.SSLContext | None = None

    @property
    def is_fixed(self) -> bool:
        """True when the options name the place, whatever the host of the URL is."""
        return self.sock is not None or self.unix is not None or self.host is not None

    async def connect(
        self,
        loop: asyncio.AbstractEventLoop,
        factory: Callable[[], Any],
        address: Address,
        deadline: float | None = None,
    ) -> Any:
        """Connect to ``address`` and return the protocol that ``factory`` made.

        Args:
            deadline: When the WebSocket must be open, on the loop's clock; None for no limit. Whoever calls
                enforces it.

        Raises:
            OSError: No connection.
            ProxyError: The proxy did not let the connection through.
            InvalidURL: The environment names a proxy by what is no URL.
        """
        tls = self._tls(address)
        protocol: Any
        if self.unix is not None:
            _, protocol = await loop.create_unix_connection(factory, os.fspath(self.unix), **tls)
            return protocol
        if self.sock is not None:
            _, protocol = await loop.create_connection(factory, sock=self.sock, **tls)
            return protocol
        dial: dict[str, Any] = {"local_addr": self.local_addr, "stagger": self.happy_eyeballs_delay}
        proxy = self._proxy(address)
        if proxy is None:
            host, port = self.host or address.host, self.port or address.port
            _, protocol = await create_connection(loop, factory, host, port, **dial, **tls)
            return protocol
        if proxy.is_socks:
            sock = await socks_socket(proxy, address, self.local_addr)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _, protocol = await loop.create_connection(factory, sock=sock, **tls)
            return protocol
        if proxy.scheme == "https":
            dial["ssl_handshake_timeout"] = self.tls_handshake or NEVER
        return await open_tunnel(
            loop,
            factory,
            proxy,
            address,
            proxy_ssl=self.proxy_ssl,
            dial=dial,
            tls=tls,
            deadline=deadline,
        )

    def for_another_origin(self) -> Target:
        """Return the options without what only the first origin may have: its name, and our certificate."""
        if self.ssl is None:
            return replace(self, server_hostname=None)
        # Imported here: few clients follow a redirect with a context of their own.
        from fastws.client.tls import without_certificate

        return replace(self, server_hostname=None, ssl=without_certificate(self.ssl))

    def _tls(self, address: Address) -> dict[str, Any]:
        if not address.secure:
            return {}
        return {
            "ssl": self.ssl or ssl_module.create_default_context(),
            "ssl_handshake_timeout": self.tls_handshake or NEVER,
            "server_hostname": certificate_name(self.server_hostname or address.host),
        }

    def _proxy(self, address: Address) -> Proxy | None:
        if self.proxy is None or self.proxy is False or self.host is not None:
            return None
        return from_environment(address) if self.proxy is True else parse_proxy(self.proxy)

    def check(self, address: Address) -> None:
        """Raise ``InvalidURL`` or ``ValueError`` for options that do not go together."""
        if self.ssl is not None and not address.secure:
            raise InvalidURL("ssl= goes with a wss:// URL")
        if sum(each is not None for each in (self.sock, self.unix, self.host)) > 1:
            raise ValueError("sock=, unix= and host= exclude one another")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError(f"port is from 1 to 65535, not {self.port}")
        if isinstance(self.proxy, str):
            if self.is_fixed:
                raise ValueError("proxy= does not go with sock=, unix= or host=")
            parse_proxy(self.proxy)
