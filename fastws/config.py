"""Settings as frozen values. Each default has its reason beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

__all__ = [
    "SERVER_LIMITS",
    "SERVER_TIMEOUTS",
    "Compression",
    "Limits",
    "Settings",
    "SlowConsumerPolicy",
    "Timeouts",
]


#: Limits of which none at all is one too.
MAY_BE_ZERO = ("max_empty_fragments", "min_body_rate", "max_early_size", "send_queue", "send_queue_bytes")


def check_number(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise ``TypeError`` for what is no integer, ``ValueError`` for one out of range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {value!r}")
    if value < least or (most is not None and value > most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} is {allowed}, not {value}")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a stranger may make this side hold: every limit counts, ``None`` is not accepted.

    Except for the last two, against abuse, which are off: what is too much of these is for the
    application to know. A second begins with the first event that falls into none yet.

    Each may differ by route, but for ``SERVER_LIMITS``: they count before a route is known. What is no
    option: one pong waits for a client that does not read, the newest (RFC 6455, section 5.5.3).
    """

    #: Bytes of one message, after decompression; 1009 beyond it. 1 MiB holds any usual message.
    max_message_size: int = 1024 * 1024
    #: Frames of one message; 1008 beyond it. Fragments are coalesced, so this bounds only CPU.
    max_fragments: int = 16_384
    #: Empty fragments in a row; 1008 beyond it. They pass every limit that counts bytes.
    max_empty_fragments: int = 64
    #: Bytes of a whole request or response head; 431 beyond it.
    max_head_size: int = 16 * 1024
    #: Bytes of one line of a head; 414 for the request line, 431 for a header.
    max_line_size: int = 8 * 1024
    #: Header lines of a head; 431 beyond it.
    max_headers: int = 100
    #: Requests answered in one turn of the loop; those pipelined behind them wait unread.
    pipelined_requests: int = 16
    #: Bytes of the body of a plain HTTP request; 413 beyond it. 1 MiB holds any usual form.
    max_body_size: int = 1024 * 1024
    #: Bytes a second that a body must bring on the average of ``Timeouts.body``; 408 below it.
    min_body_rate: int = 100
    #: Bytes of frames kept while ``authorize`` decides; beyond it they stay in the socket.
    max_early_size: int = 64 * 1024
    #: Messages that wait in the inbox of an ``async def`` handler before reading pauses.
    receive_queue: int = 32
    #: Messages that may wait for a socket that refuses bytes. One always may, however large.
    #: Beyond it, and beyond the bytes, the slow policy decides: 1008 unless it says otherwise.
    send_queue: int = 256
    #: Bytes that may wait for a socket that refuses bytes: what one client may cost everybody.
    send_queue_bytes: int = 1024 * 1024
    #: Complete messages taken from one WebSocket in a second; 1008 beyond it. ``None``: no limit.
    messages_per_second: int | None = None
    #: Bytes of frames taken from one WebSocket in a second; 1008 beyond it. ``None``: no limit.
    bytes_per_second: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) is not None or field.default is not None:
                check_number(field.name, value, 0 if field.name in MAY_BE_ZERO else 1)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; ``None`` switches a timeout off.

    Each may differ by route, but for ``SERVER_TIMEOUTS``: they run while no route is known.
    """

    #: TLS handshake. uvloop's own default is 60 s, too kind to a peer that says nothing.
    tls_handshake: float | None = 10.0
    #: The whole request head, not per byte, and the application's decision before 101.
    handshake: float | None = 10.0
    #: A request body must keep up ``Limits.min_body_rate`` over this long.
    body: float | None = 30.0
    #: A plain HTTP connection between two requests: a proxy before us gives up after 60 s.
    keep_alive: float | None = 75.0
    #: A ping leaves after this long without one. 20 s keeps NAT tables and proxies awake.
    ping_interval: float | None = 20.0
    #: A ping without its pong for this long ends the connection.
    ping_timeout: float | None = 20.0
    #: From our close frame to the peer's, then to the end of TCP: a peer that is there needs less.
    close: float | None = 5.0
    #: Without any progress of a socket that refused bytes: its peer has gone or does not read.
    write: float | None = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{field.name} is a number of seconds or None, not {value!r}")
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{field.name} is more than 0 seconds, not {value}; None switches it off")


#: Seconds: no timeout of a TLS handshake, where None would be a loop's own default.
NEVER = 1e8
#: Fields that count before a request has a route, and so are the server's alone.
SERVER_LIMITS = ("max_head_size", "max_line_size", "max_headers", "pipelined_requests")
SERVER_TIMEOUTS = ("tls_handshake", "keep_alive")


@dataclass(frozen=True, slots=True)
class Compression:
    """permessage-deflate (RFC 7692), accepted when a client offers it.

    Without context takeover one compressor serves all connections of a loop and a broadcast is
    compressed once for all. ``context_takeover=True`` compresses better, but each connection then
    holds two zlib windows: about 300 KiB with the defaults here.
    """

    #: Messages below this many bytes are sent as they are.
    threshold: int = 1024
    #: zlib level. 1 takes a third of the CPU of 6 and gives about 90 % of it on JSON.
    level: int = 1
    #: zlib's memory, 1 to 9: 8 is 128 KiB for a compressor.
    mem_level: int = 8
    #: Keep both windows between messages, if the peer agrees: see above for what it costs.
    context_takeover: bool = False

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0)
        check_number("level", self.level, -1, 9)
        check_number("mem_level", self.mem_level, 1, 9)


DEFAULT_COMPRESSION = Compression()


def checked_compression(given: Any) -> Compression | None:
    """Return what was given as ``compression=``. Raises ``TypeError`` for anything else than that."""
    if given is None or isinstance(given, Compression):
        return given
    raise TypeError(f"compression= is a fastws.Compression, or None for none, not {given!r}")


def check_options(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``TypeError`` for keyword arguments that ``function`` has not, and say where they belong."""
    for name in given:
        if name in known:
            continue
        hint = ""
        for kind in (Limits, Timeouts):
            if name in kind.__slots__:
                hint = f"; write {kind.__name__.lower()}={{{name!r}: ...}}"
        raise TypeError(f"{function}() has no {name}={hint}")


class SlowConsumerPolicy(Enum):
    """What becomes of a message for a client whose send queue is over its limit."""

    #: The client is closed with 1008: it has missed nothing until then. The default.
    EVICT = "evict"
    #: This message is not queued: the client gets what was sent first.
    DROP_NEWEST = "drop_newest"
    #: The oldest that waits makes room for it: the client gets what is new.
    DROP_OLDEST = "drop_oldest"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server applies to every connection, unless a route says otherwise."""

    #: How much a stranger may make this side hold.
    limits: Limits = Limits()
    #: How long it waits for a stranger.
    timeouts: Timeouts = Timeouts()
    #: ``None`` switches permessage-deflate off.
    compression: Compression | None = DEFAULT_COMPRESSION
    #: Origins allowed beside the server's own, such as ``https://example.com``; ``*`` allows all.
    origins: frozenset[str] = frozenset()
    #: Refuse a handshake without Origin: only browsers may connect then, and send theirs.
    require_origin: bool = False
    #: Fields of every response, 101 too, that has none of that name itself.
    headers: tuple[tuple[bytes, bytes], ...] = ((b"X-Server", b"fastws"),)
    #: One line per HTTP response and per closed WebSocket on the logger ``fastws.access``.
    access_log: bool = True
    #: Connections beyond this many are answered 503, and with 32 more they are closed; ``None`` is no limit.
    limit_concurrency: int | None = None
    #: Connections that one address may have open; 429 beyond it. IPv6 counts by its first 64 bits.
    limit_connections_per_address: int | None = None
    #: Requests to upgrade from one address in a second; 429 beyond it.
    limit_handshakes_per_address: int | None = None
    #: Peers whose X-Forwarded-For and X-Forwarded-Proto are believed: networks, or ``*`` for all.
    trusted_proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked_compression(self.compression)
        for name in ("limit_concurrency", "limit_connections_per_address", "limit_handshakes_per_address"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, 1)
