"""The settings of a connection and of a server, as frozen values. Each default has its reason beside it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
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
    "UNSET",
    "Unset",
]


#: Limits that may be 0.
MAY_BE_ZERO = ("max_empty_fragments", "min_body_rate", "max_early_size", "send_queue", "send_queue_bytes")


#: The kernel doubles the size of a buffer in a signed integer of 32 bits.
MAX_SOCKET_BYTES = 2**30 - 1


class Unset:
    """The default of an argument whose None has a meaning."""


UNSET = Unset()


def check_number(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise ``TypeError`` for a value that is no integer, ``ValueError`` for one out of range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an int, not {value!r}")
    if value < least or (most is not None and value > most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} is {allowed}, not {value}")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one peer may send, and how much memory it may make this side use.

    Every limit is an integer. Only the last two, the limits per second, may be ``None``, which is no limit;
    that is their default, because only the application knows what is too much. A second begins with the
    first event after the second before it.

    A route may have other limits than its server, except those in ``SERVER_LIMITS``, which apply before the
    route is known. A number in a description, such as 1009, is the close code (RFC 6455, section 7.4.1) or
    the HTTP status (RFC 9110, section 15; RFC 6585 for 431) that a peer beyond the limit gets. One more
    limit cannot be set: for a client that does not read, only the newest pong is kept (RFC 6455,
    section 5.5.3).

    Raises ``TypeError`` for a value that is no integer, ``ValueError`` for one that is negative, or 0 where
    0 makes no sense. Immutable, so it may be shared by any number of servers and threads.
    """

    #: Bytes of one message, after decompression; 1009 beyond it. 1 MiB is enough for any usual message.
    max_message_size: int = 1024 * 1024
    #: Frames of one message; 1008 beyond it. They are joined as they arrive, so this limits CPU time only.
    max_fragments: int = 16_384
    #: Empty fragments in a row; 1008 beyond it. No limit that counts bytes would stop them.
    max_empty_fragments: int = 64
    #: Bytes of the head of a request or response; 431 beyond it.
    max_head_size: int = 16 * 1024
    #: Bytes of one line of a head; 414 for the request line, 431 for a header line.
    max_line_size: int = 8 * 1024
    #: Header lines of a head; 431 beyond it.
    max_headers: int = 100
    #: Pipelined requests answered in one turn of the event loop; later ones wait for the next turn.
    pipelined_requests: int = 16
    #: Bytes of the body of a plain HTTP request; 413 beyond it. 1 MiB is enough for any usual form.
    max_body_size: int = 1024 * 1024
    #: Bytes per second of a request body, as an average over ``Timeouts.body``; 408 below it.
    min_body_rate: int = 100
    #: Bytes of frames that are read while ``authorize`` decides; beyond it reading pauses.
    max_early_size: int = 64 * 1024
    #: Messages that wait for an ``async def`` handler; with more, reading pauses.
    receive_queue: int = 32
    #: Messages that wait for a client whose socket takes no more bytes. One may always wait, however large.
    #: Beyond it, or beyond ``send_queue_bytes``, the ``SlowConsumerPolicy`` decides; 1008 by default.
    send_queue: int = 256
    #: Bytes that wait for a client whose socket takes no more bytes, as with ``send_queue``.
    send_queue_bytes: int = 1024 * 1024
    #: Complete messages from one WebSocket per second; 1008 beyond it. ``None``: no limit.
    messages_per_second: int | None = None
    #: Bytes of frames from one WebSocket per second; 1008 beyond it. ``None``: no limit.
    bytes_per_second: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) is not None or field.default is not None:
                check_number(field.name, value, 0 if field.name in MAY_BE_ZERO else 1)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long this side waits for a peer, in seconds; ``None`` switches a timeout off.

    A route may have other timeouts than its server, except those in ``SERVER_TIMEOUTS``, which run before
    the route is known.

    Raises ``TypeError`` for a value that is no number, ``ValueError`` for one that is not positive and
    finite. Immutable, so it may be shared by any number of servers and threads.
    """

    #: The TLS handshake. The default of uvloop is 60 s, too long for a peer that sends nothing.
    tls_handshake: float | None = 10.0
    #: The whole head of a request (408 beyond it), and then the decision of ``authorize`` (503 beyond it).
    handshake: float | None = 10.0
    #: The time over which a request body must keep up ``Limits.min_body_rate``.
    body: float | None = 30.0
    #: A plain HTTP connection between two requests. A proxy in front usually closes after 60 s, before us.
    keep_alive: float | None = 75.0
    #: The time from one ping to the next. 20 s keeps the entries of NAT and of proxies alive.
    ping_interval: float | None = 20.0
    #: The time from a ping to its pong; after it the connection ends.
    ping_timeout: float | None = 20.0
    #: The time from our close frame to the peer's, and then to the end of TCP.
    close: float | None = 5.0
    #: The time without progress of a socket that takes no more bytes: its peer is gone or does not read.
    write: float | None = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{field.name} is a number of seconds or None, not {value!r}")
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{field.name} is more than 0 seconds, not {value}; None switches it off")


#: Seconds that stand for no timeout of the TLS handshake: asyncio takes None for its own default.
NEVER = 1e8
#: Fields that apply before the route of a request is known, so that only a server can have them.
SERVER_LIMITS = ("max_head_size", "max_line_size", "max_headers", "pipelined_requests")
SERVER_TIMEOUTS = ("tls_handshake", "keep_alive")


@dataclass(frozen=True, slots=True)
class Compression:
    """How messages are compressed with permessage-deflate (RFC 7692).

    A server accepts it when the client offers it; a client offers it. Without context takeover one
    compressor serves all connections of an event loop, and a broadcast is compressed once for all. With
    ``context_takeover=True`` messages become smaller, but each connection holds two zlib windows, about
    300 KiB with these defaults (RFC 7692, section 7.1.1).

    Raises ``TypeError`` for a number that is no integer, ``ValueError`` for one out of range.
    """

    #: Bytes of a message from which on it is compressed; smaller messages are sent as they are.
    threshold: int = 1024
    #: zlib's level, -1 to 9. Level 1 takes a third of the CPU time of 6 and saves about 90 % as much on JSON.
    level: int = 1
    #: zlib's memory level, 1 to 9. Level 8 takes 128 KiB for a compressor.
    mem_level: int = 8
    #: Compress each message with those before it, if the peer agrees; about 300 KiB a connection.
    context_takeover: bool = False

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0)
        check_number("level", self.level, -1, 9)
        check_number("mem_level", self.mem_level, 1, 9)


DEFAULT_COMPRESSION = Compression()


def checked_compression(given: Any) -> Compression | None:
    """Return the value of an argument ``compression=``. Raises ``TypeError`` for one of a wrong type."""
    if given is None or isinstance(given, Compression):
        return given
    raise TypeError(f"compression= is a fastws.Compression, or None for none, not {given!r}")


def check_arguments(function: Callable[..., Any], name: str, takes: tuple[str, ...]) -> None:
    """Raise ``TypeError`` for a function that cannot be called with the arguments named in ``takes``.

    And for one with a ``yield``: to call it runs nothing of it.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} has a yield: to call it would run nothing of it")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # a compiled function may have no signature to look at
    try:
        signature.bind(*takes)
    except TypeError:
        raise TypeError(f"{name} is called with ({', '.join(takes)}); it takes {signature}") from None


def check_options(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``TypeError`` for a keyword argument that ``function`` does not have; say where it belongs."""
    for name in given:
        if name in known:
            continue
        hint = ""
        for kind in (Limits, Timeouts):
            if name in kind.__slots__:
                hint = f"; write {kind.__name__.lower()}={{{name!r}: ...}}"
        raise TypeError(f"{function}() has no {name}={hint}")


class SlowConsumerPolicy(Enum):
    """What happens to a message for a client whose send queue is full (``Limits.send_queue``)."""

    #: The WebSocket is closed with 1008 (RFC 6455, section 7.4.1). Until then the client missed nothing.
    EVICT = "evict"
    #: The new message is dropped; those that wait are sent.
    DROP_NEWEST = "drop_newest"
    #: The oldest message that waits is dropped; the new one is queued.
    DROP_OLDEST = "drop_oldest"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a server. A route may have its own for some of them.

    Raises ``TypeError`` or ``ValueError`` for a value of a wrong type or out of range. Immutable, so it may
    be shared by any number of servers and threads.
    """

    #: How much one peer may send, and how much memory it may take.
    limits: Limits = Limits()
    #: How long the server waits for a peer.
    timeouts: Timeouts = Timeouts()
    #: How messages are compressed. ``None`` switches permessage-deflate off.
    compression: Compression | None = DEFAULT_COMPRESSION
    #: Origins that are allowed besides the server's own, such as ``https://example.com``, or
    #: ``https://*.example.com`` for all of its subdomains; ``*`` allows all.
    #: A browser of another origin gets 403 (RFC 6455, section 4.2.2).
    origins: frozenset[str] = frozenset()
    #: Hosts under which the server may be asked, ``example.com`` or ``*.example.com``; 421 for any other
    #: (RFC 9110, section 15.5.20). Empty: all, since a proxy may pass any public name.
    allowed_hosts: frozenset[str] = frozenset()
    #: Refuse a handshake without Origin (403), so that only browsers, which send one, can connect.
    require_origin: bool = False
    #: Header fields of every response, also of a 101, that has no field of that name.
    headers: tuple[tuple[bytes, bytes], ...] = ((b"X-Server", b"fastws"),)
    #: Write one line per HTTP response and per closed WebSocket to the logger ``fastws.access``.
    access_log: bool = True
    #: Open connections. Beyond it up to 32 get 503 (RFC 9110, section 15.6.4), others are closed at once.
    #: ``None``: no limit.
    limit_concurrency: int | None = None
    #: Open connections of one address; 429 beyond it (RFC 6585, section 4). IPv6 counts by the first 64 bits.
    #: ``None``: no limit.
    limit_connections_per_address: int | None = None
    #: Requests to upgrade from one address per second; 429 beyond it. ``None``: no limit.
    limit_handshakes_per_address: int | None = None
    #: Networks of proxies whose X-Forwarded-For and -Proto, or Forwarded, count; ``*`` for all peers.
    trusted_proxies: tuple[str, ...] = ()
    #: ``SO_SNDBUF`` of each connection: bytes that the kernel holds for a client until they are acknowledged.
    #: Linux doubles the number for its own records, and takes no more than ``net.core.wmem_max``.
    #: ``None``: the kernel decides, and lets it grow to some megabytes.
    socket_send_buffer: int | None = None
    #: ``TCP_NOTSENT_LOWAT`` of each TCP connection: bytes that wait in the kernel unsent, beyond which the
    #: client is congested. ``None``: 16 KiB for who subscribes to a keyed topic, else the kernel's default,
    #: which is no limit.
    notsent_lowat: int | None = None
    #: Bytes that all clients may have waiting, together with what topics keep. Over it those with most are
    #: evicted. ``None``: no limit.
    memory_budget: int | None = None

    def __post_init__(self) -> None:
        checked_compression(self.compression)
        for name in ("limit_concurrency", "limit_connections_per_address", "limit_handshakes_per_address"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, 1)
        if self.memory_budget is not None:
            check_number("memory_budget", self.memory_budget, 1)
        for name in ("socket_send_buffer", "notsent_lowat"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, 1, MAX_SOCKET_BYTES)
