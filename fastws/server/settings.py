"""The settings of a server, from keyword arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from fastws.config import DEFAULT_COMPRESSION, Compression, Limits, Settings, Timeouts
from fastws.protocol.http.messages import Response
from fastws.server.send_buffer import check_send_buffer
from fastws.web.hosts import parse_hosts
from fastws.web.origins import parse_origins
from fastws.web.routes import changed

__all__ = ["SettingsOptions", "settings_from"]


class SettingsOptions(TypedDict, total=False):
    """The keyword arguments of :func:`settings_from`, for functions that pass them on."""

    limits: Limits | Mapping[str, Any] | None
    timeouts: Timeouts | Mapping[str, Any] | None
    compression: Compression | None
    origins: Iterable[str]
    allowed_hosts: Iterable[str]
    require_origin: bool
    headers: Iterable[tuple[str, str]] | Mapping[str, str]
    access_log: bool
    limit_concurrency: int | None
    limit_connections_per_address: int | None
    limit_handshakes_per_address: int | None
    proxy_headers: bool
    forwarded_allow_ips: Iterable[str]
    socket_send_buffer: int | None
    notsent_lowat: int | None
    memory_budget: int | None


def settings_from(
    *,
    limits: Limits | Mapping[str, Any] | None = None,
    timeouts: Timeouts | Mapping[str, Any] | None = None,
    compression: Compression | None = DEFAULT_COMPRESSION,
    origins: Iterable[str] = (),
    allowed_hosts: Iterable[str] = (),
    require_origin: bool = False,
    headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
    access_log: bool = True,
    limit_concurrency: int | None = None,
    limit_connections_per_address: int | None = None,
    limit_handshakes_per_address: int | None = None,
    proxy_headers: bool = False,
    forwarded_allow_ips: Iterable[str] = ("127.0.0.1", "::1"),
    socket_send_buffer: int | None = None,
    notsent_lowat: int | None = None,
    memory_budget: int | None = None,
) -> Settings:
    """Return :class:`Settings` from the keyword arguments of :func:`serve`.

    Raises ``TypeError`` and ``ValueError`` for settings that cannot be served.
    """
    check_send_buffer(notsent_lowat)
    fields = Response(headers=headers).raw_headers
    if not any(name.lower() == b"x-server" for name, _ in fields):
        fields.append((b"X-Server", b"fastws"))
    return Settings(
        limits=changed(Limits(), limits),
        timeouts=changed(Timeouts(), timeouts),
        compression=compression,
        origins=parse_origins(origins),
        allowed_hosts=parse_hosts(allowed_hosts),
        require_origin=require_origin,
        headers=tuple(fields),
        access_log=access_log,
        limit_concurrency=limit_concurrency,
        limit_connections_per_address=limit_connections_per_address,
        limit_handshakes_per_address=limit_handshakes_per_address,
        trusted_proxies=tuple(forwarded_allow_ips) if proxy_headers else (),
        socket_send_buffer=socket_send_buffer,
        notsent_lowat=notsent_lowat,
        memory_budget=memory_budget,
    )
