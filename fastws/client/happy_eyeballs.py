"""From a host name to a TCP connection: its addresses are tried at the same time (RFC 8305).

Done here because ``create_connection`` of uvloop cannot.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any

__all__ = ["STAGGER", "create_connection"]

#: Seconds between the attempts at two addresses (RFC 8305, section 8: "Connection Attempt Delay").
STAGGER = 0.25

#: What ``getaddrinfo`` returns of one address.
Info = tuple[int, int, int, str, tuple[Any, ...]]
LocalAddress = tuple[str, int]


async def create_connection(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], Any],
    host: str,
    port: int,
    *,
    local_addr: LocalAddress | None = None,
    stagger: float = STAGGER,
    **options: Any,
) -> tuple[Any, Any]:
    """As ``loop.create_connection``, on any loop: take the first address that answers.

    Cancelling leaves neither task nor socket.

    Args:
        stagger: Seconds after which the next address is tried beside the ones before.

    Raises:
        OSError: No address answers.
    """
    if _is_literal(host) and local_addr is None:
        return await loop.create_connection(factory, host, port, **options)
    infos = _interleaved(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if not infos:
        raise OSError(f"{host} has no address")
    if len(infos) == 1 and local_addr is None and not _has_zone(infos[0]):
        return await loop.create_connection(factory, infos[0][4][0], port, **options)
    sock = await _race(loop, infos, stagger, local_addr)
    return await loop.create_connection(factory, sock=sock, **options)


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _has_zone(info: Info) -> bool:
    """Whether it is an address of IPv6 with a zone, which the text of the address lacks."""
    return info[0] == socket.AF_INET6 and bool(info[4][3])


def _interleaved(infos: Sequence[Any]) -> list[Info]:
    """Alternate between the families, beginning with the one that the system prefers (section 4)."""
    families: dict[int, list[Info]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    return [info for turn in zip_longest(*families.values()) for info in turn if info is not None]


async def _race(
    loop: asyncio.AbstractEventLoop, infos: Sequence[Info], stagger: float, local_addr: LocalAddress | None
) -> socket.socket:
    running: set[asyncio.Task[socket.socket]] = set()
    winner: socket.socket | None = None
    try:
        winner = await _first(loop, deque(infos), stagger, local_addr, running)
    finally:
        try:
            await _give_up(running)
        except BaseException:
            if winner is not None:  # cancelled after the race was won: nobody will take it
                winner.close()
            raise
    return winner


async def _first(
    loop: asyncio.AbstractEventLoop,
    waiting: deque[Info],
    stagger: float,
    local_addr: LocalAddress | None,
    running: set[asyncio.Task[socket.socket]],
) -> socket.socket:
    """Return the socket that is connected first; ``running`` then has the attempts that go on."""
    errors: list[OSError] = []
    while waiting or running:
        if waiting:
            running.add(loop.create_task(_attempt(loop, waiting.popleft(), local_addr)))
        await asyncio.wait(running, timeout=stagger if waiting else None, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in running if task.done()]:
            running.discard(task)
            error = task.exception()
            if error is None:
                return task.result()
            if not isinstance(error, OSError):
                raise error
            errors.append(error)
    raise _joined(errors)


async def _attempt(
    loop: asyncio.AbstractEventLoop, info: Info, local_addr: LocalAddress | None
) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(0)  # non-blocking
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if local_addr is not None:
            sock.bind(local_addr)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _give_up(running: set[asyncio.Task[socket.socket]]) -> None:
    """Cancel the attempts that lost, and close the sockets that they may have connected meanwhile."""
    for task in running:
        task.add_done_callback(_close_result)
        task.cancel()
    if running:
        await asyncio.wait(running)


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _joined(errors: list[OSError]) -> OSError:
    texts = list(dict.fromkeys(map(str, errors)))
    return errors[0] if len(texts) == 1 else OSError(f"Multiple exceptions: {', '.join(texts)}")
