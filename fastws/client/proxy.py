"""Proxies of a client: which one to use, and how to connect through it (HTTP CONNECT, SOCKS)."""

from __future__ import annotations

import asyncio
import os
import ssl as ssl_module
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

from fastws.client.credentials import BasicAuth
from fastws.client.happy_eyeballs import create_connection
from fastws.client.no_proxy import bypasses
from fastws.client.refusal import RefusalTimer
from fastws.client.url import Address, certificate_name, host_of, without_zone
from fastws.errors import InvalidURL, ProxyError
from fastws.protocol.http.addresses import parse_address
from fastws.protocol.http.connect import Tunnel
from fastws.protocol.http.messages import Response

__all__ = ["Proxy", "from_environment", "open_tunnel", "parse_proxy", "socks_socket"]

#: Scheme to default port; the h and a of the SOCKS schemes leave host names to the proxy.
SCHEMES = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class Proxy:
    """The address of a proxy, its protocol, and the credentials for it."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def authorization(self) -> str | None:
        return None if self.user is None else BasicAuth(self.user, self.password or "").authorization


def parse_proxy(url: str) -> Proxy:
    """Read ``[scheme://][user:password@]host[:port]``. Raises :class:`fastws.InvalidURL`."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as exc:
        raise InvalidURL(f"the proxy's address is no URL: {exc}") from None
    if port == 0:
        raise InvalidURL("the proxy's address has the port 0, to which nothing can connect")
    if parts.scheme not in SCHEMES:
        raise InvalidURL(f"a proxy speaks {', '.join(SCHEMES)}, not {parts.scheme!r}")
    if not parts.hostname:
        raise InvalidURL("the proxy's address names no host")
    user, password = parts.username, parts.password
    return Proxy(
        parts.scheme,
        host_of(parts.hostname, "the proxy's address"),
        port or SCHEMES[parts.scheme],
        None if user is None else unquote(user),
        None if password is None else unquote(password),
    )


def from_environment(address: Address) -> Proxy | None:
    """Return the proxy that ``http_proxy`` (ws), ``https_proxy`` (wss), ``all_proxy`` name for it.

    ``no_proxy`` names hosts that need none, see :func:`bypasses`. Loopback addresses never go through a
    proxy, as in browsers. Raises :class:`fastws.InvalidURL`.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ) or _is_loopback(address.host):
        return None
    # Imported here: it costs more than a connection, and few clients have a proxy.
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()
    url = proxies.get("https" if address.secure else "http") or proxies.get("all")
    if not url or bypasses(proxies.get("no", ""), address.host, address.port):
        return None
    return parse_proxy(url)


def _is_loopback(host: str) -> bool:
    host = host.lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return parse_address(without_zone(host)).is_loopback
    except ValueError:
        return False


class _TunnelProtocol(asyncio.Protocol):
    """The protocol of the connection to an HTTP proxy, until the real one takes its place."""

    def __init__(self, tunnel: Tunnel, deadline: float | None) -> None:
        self._tunnel = tunnel
        self._body_timer = RefusalTimer(deadline)
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False

    def connection_made(self, transport: Any) -> None:
        transport.write(self._tunnel.request)

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            self.ended = True  # the client speaks first, so this is not the server
            return
        try:
            response = self._tunnel.receive(data)
        except ValueError as exc:
            self._fail(ProxyError(f"the proxy is none: {exc}" if data else "the proxy closed the connection"))
            return
        if response is None:
            if self._tunnel.refusal() is not None:
                # The status decides; the body may never end.
                self._body_timer.start(self._end_body)
        elif not 200 <= response.status < 300:
            self._refused(response)
        elif self._tunnel.surplus:
            self._fail(ProxyError("the proxy sent data before we did"))
        else:
            self.answered.set_result(None)

    def _end_body(self) -> None:
        refusal = self._tunnel.refusal()
        if refusal is not None:
            self._refused(refusal)

    def _refused(self, response: Response) -> None:
        self._fail(ProxyError(f"the proxy refused with status {response.status}", response))

    def eof_received(self) -> bool:
        self.data_received(b"")
        self._lost()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()

    def _lost(self) -> None:
        self.ended = True
        self._end_body()
        self._fail(ProxyError("the proxy closed the connection"))

    def _fail(self, exc: ProxyError) -> None:
        self._body_timer.cancel()
        if not self.answered.done():
            self.answered.set_exception(exc)
            # Mark it as retrieved: where connect() is cancelled nobody awaits it, and asyncio would log it.
            self.answered.exception()


async def open_tunnel(
    loop: asyncio.AbstractEventLoop,
    factory: Any,
    proxy: Proxy,
    address: Address,
    *,
    proxy_ssl: ssl_module.SSLContext | None,
    dial: dict[str, Any],
    tls: dict[str, Any],
    deadline: float | None = None,
) -> Any:
    """Connect through an HTTP proxy (CONNECT: RFC 9110, section 9.3.6).

    Args:
        proxy_ssl: The context for an ``https`` proxy. None: the system's authorities.
        dial: Options of the connection to the proxy.
        tls: TLS options of the server behind it; empty for ``ws``.
        deadline: When all must be done, on the loop's clock; None for no limit. Whoever calls enforces it.

    Returns:
        The protocol that ``factory`` made.

    Raises:
        ProxyError: The proxy did not let the connection through.
        OSError: No connection to the proxy.
    """
    options = dict(dial)
    if proxy.scheme == "https":
        options["ssl"] = proxy_ssl or ssl_module.create_default_context()
        options["server_hostname"] = certificate_name(proxy.host)
    host = without_zone(address.host)
    authority = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    tunnel = Tunnel(authority, proxy.authorization)
    transport, tunnelling = await create_connection(
        loop, lambda: _TunnelProtocol(tunnel, deadline), proxy.host, proxy.port, **options
    )
    try:
        await tunnelling.answered
        if tls:
            context = tls["ssl"]
            rest = {name: value for name, value in tls.items() if name != "ssl"}
            transport = await loop.start_tls(transport, tunnelling, context, **rest)
        if tunnelling.ended or transport.is_closing():
            raise ProxyError("the proxy closed the connection")
    except BaseException:
        if transport is not None:
            transport.abort()
        raise
    protocol = factory()
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return protocol


async def socks_socket(proxy: Proxy, address: Address, local_addr: tuple[str, int] | None) -> Any:
    """Return a socket that a SOCKS proxy has connected to ``address``.

    Raises:
        ProxyError: The proxy refused.
        OSError: No connection to the proxy.
        ImportError: The package ``python-socks`` is missing; the extra ``socks`` brings it.
    """
    try:
        socks: Any = import_module("python_socks")
        connector: Any = import_module("python_socks.async_.asyncio")
    except ImportError as exc:
        raise ImportError("a SOCKS proxy needs python-socks: pip install python-socks") from exc
    kind = socks.ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else socks.ProxyType.SOCKS4
    rdns = proxy.scheme in ("socks5h", "socks4a")
    connecting = connector.Proxy(kind, proxy.host, proxy.port, proxy.user, proxy.password, rdns=rdns)
    try:
        # connect() has open_timeout, which must be the shorter limit.
        host = without_zone(address.host)
        return await connecting.connect(host, address.port, timeout=86400.0, local_addr=local_addr)
    except socks.ProxyConnectionError as exc:
        raise OSError(exc.errno, f"no connection to the proxy: {exc.strerror}") from exc
    except socks.ProxyError as exc:
        raise ProxyError(f"the SOCKS proxy refused: {exc}") from exc
