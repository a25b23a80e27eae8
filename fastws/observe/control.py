"""The control socket: questions and answers as lines of JSON, over a Unix socket of its owner alone."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastws import json

__all__ = ["Answer", "ControlRefused", "controlling", "open_control"]

#: Answers a question; what it raises is told in one line.
Answer = Callable[[dict[str, Any]], Awaitable[Any]]

#: Bytes of a question; people at the same time; seconds in which a question comes and an answer leaves.
MAX_QUESTION = 16 * 1024
MAX_PEOPLE = 8
SECONDS = 60.0
#: struct ucred of unix(7).
CREDENTIALS = struct.Struct("3i")


class ControlRefused(Exception):
    """The control socket cannot be at this path: somebody else might use it."""


def open_control(path: str) -> socket.socket:
    """Listen at ``path``, for the owner of this process alone.

    Raises:
        ControlRefused: others may write to the folder.
        OSError: there is no such folder, or another server listens there.
    """
    folder = os.path.dirname(os.path.abspath(path))
    found = os.stat(folder)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ControlRefused(f"{folder} has to belong to you, and nobody else may write there (chmod go-w)")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(path)
        sock.listen(MAX_PEOPLE)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.settimeout(0)
    return sock


@asynccontextmanager
async def controlling(sock: socket.socket, answer: Answer) -> AsyncIterator[None]:
    """Answer what is asked at ``sock``, on the running loop. The socket belongs to it from now on."""
    people: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        people.add(task)
        try:
            if len(people) <= MAX_PEOPLE and is_owner(writer.get_extra_info("socket")):
                await converse(reader, writer, answer)
        except (OSError, ValueError, TimeoutError, asyncio.CancelledError):
            pass  # gone, too slow or too long
        finally:
            people.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(visit, sock=sock, limit=MAX_QUESTION)
    try:
        yield
    finally:
        server.close()
        for task in list(people):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*people, return_exceptions=True)


def is_owner(sock: Any) -> bool:
    """Whether the other side is a process of our own user, or of root (SO_PEERCRED)."""
    _, uid, _ = CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return uid in (0, os.geteuid())


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    while True:
        async with asyncio.timeout(SECONDS):
            line = await reader.readline()
        if not line:
            return
        try:
            question = json.loads(line)
            if not isinstance(question, dict):
                raise ValueError("a question is a JSON object")
            said = {"answer": await answer(question)}
        except (ValueError, TypeError, KeyError) as error:
            said = {"error": str(error) or type(error).__name__}
        writer.write(json.dumps(said) + b"\n")
        async with asyncio.timeout(SECONDS):
            await writer.drain()
