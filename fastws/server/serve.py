"""``fastws.serve``: a server in a program of one's own."""

from __future__ import annotations

import os
import socket
import ssl as ssl_module
from collections.abc import Generator
from typing import Any, Unpack

from fastws.config import check_options
from fastws.server.factory import Factory, check_factory, made
from fastws.server.server import Server
from fastws.server.settings import SettingsOptions, settings_from
from fastws.server.site import App

__all__ = ["serve"]


class serve:
    """Serve a handler or routes: ``async with serve(handler, host, port) as server``, or ``await`` it.

    Both give a :class:`Server` that listens. Leaving the block shuts it down (10 s at most); who awaits it
    calls :meth:`Server.shutdown`. It touches neither signals nor the settings of the loop. Several servers
    may run on one loop. Cancelled while it starts, it leaves nothing open.

    Args:
        app: a :class:`fastws.Handler` or an ``async def handler(ws)``, either for every path; or a list of
            :class:`fastws.Route`, :class:`fastws.Static` and :class:`fastws.ASGI`; or a
            :class:`fastws.Application`.
        factory: True: ``app`` is a function without arguments, ``def`` or ``async def``, that returns what is
            served. It is called, and awaited, on the running loop before anything listens (False).
        host: a name or an IP address; None (the default): every interface.
        port: 0 (the default) takes a free one: :attr:`Server.port`.
        ssl: a server-side ``ssl.SSLContext``; the default None serves without TLS.
        sock: a bound socket, TCP or Unix, in place of ``host`` and ``port``.
        unix: the path of a Unix socket in their place. It is taken over from a server that is gone, never
            from one that listens; :meth:`Server.close` removes it.
        backlog: connections that may wait in the kernel until the server accepts them (2048).
        reuse_port: True lets several processes listen at the same port.
        limits: how much a client may make the server hold: a :class:`Limits`, or a mapping of the fields to
            change. A route may change them for itself, as the timeouts.
        timeouts: how many seconds the server waits for a client: a :class:`Timeouts`, or a mapping.
        compression: of messages, a :class:`Compression`; None switches permessage-deflate off.
        origins: sites whose pages may connect, ``https://example.com`` or ``https://*.example.com``, beside
            the server's own; ``*``: all.
        allowed_hosts: hosts under which the server may be asked, ``example.com`` or ``*.example.com``; others
            get 421. The default () allows all: a proxy may pass any name.
        require_origin: True refuses clients that send no Origin, which are not browsers (False).
        headers: fields of every response, as pairs or a mapping. ``X-Server: fastws`` joins them unless they
            have an X-Server.
        access_log: False logs no line to ``fastws.access`` for each response and closed WebSocket (True).
        limit_concurrency: connections that may be open at once; beyond it 503 (None: no limit).
        limit_connections_per_address: connections of one address; beyond it 429 (None: no limit).
        limit_handshakes_per_address: requests to upgrade from one address in a second; beyond it 429 (None).
        proxy_headers: True believes what trusted proxies say of a client: X-Forwarded-For and
            X-Forwarded-Proto, or Forwarded (False).
        forwarded_allow_ips: those proxies: addresses and networks, or ``*`` (127.0.0.1 and ::1).
        socket_send_buffer: ``SO_SNDBUF`` of each connection, in bytes (None: the kernel decides).
        notsent_lowat: ``TCP_NOTSENT_LOWAT`` of each connection, in bytes (None: 16 KiB for who subscribes to
            a keyed topic, no limit for others).
        memory_budget: bytes that may wait for all clients, together with what topics keep; over it the
            clients with most are evicted with 1008 (None: no limit).

    Raises:
        OSError: the address cannot be had.
        TypeError: an argument that is not known, or of the wrong type. Where it is told at once, the call
            itself raises, not only ``await``; ``ValueError`` likewise.
        ValueError: settings or routes that cannot be served.
        StartupFailed: an ASGI application or an ``on_startup`` hook cannot start. What a factory raises comes
            as it is.
    """

    def __init__(
        self,
        app: App | Factory,
        host: str | None = None,
        port: int = 0,
        *,
        ssl: ssl_module.SSLContext | None = None,
        sock: socket.socket | None = None,
        unix: str | os.PathLike[str] | None = None,
        backlog: int = 2048,
        reuse_port: bool | None = None,
        factory: bool = False,
        **settings: Unpack[SettingsOptions],
    ) -> None:
        if factory:
            check_factory(app)
        self._app = app
        self._factory = factory
        check_options("serve", settings, SettingsOptions.__annotations__)
        self._settings = settings_from(**settings)
        self._address: dict[str, Any] = {
            "host": host,
            "port": port,
            "ssl": ssl,
            "sock": sock,
            "unix": unix,
            "backlog": backlog,
            "reuse_port": reuse_port,
        }
        self._server: Server | None = None

    async def _start(self) -> Server:
        server = Server(await made(self._app, factory=self._factory), self._settings)
        try:
            await server.startup()
            await server.listen(**self._address)
        except BaseException:
            await server.shutdown(0)
            raise
        return server

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    async def __aenter__(self) -> Server:
        self._server = await self._start()
        return self._server

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await self._server.shutdown()
