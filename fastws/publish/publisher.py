"""Publishes from plain synchronous programs, over HTTP/1.1."""

from __future__ import annotations

import os
import select
import socket
import ssl as ssl_module
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Self

from fastws.config import UNSET, Unset
from fastws.publish.batches import Batch, batches
from fastws.publish.door import IDLE_SECONDS, MAX_IDLE, READ_BYTES, Door, pauses
from fastws.publish.exchange import Answer, BadAnswer, Exchange, Target
from fastws.pubsub.events import Published

__all__ = ["Publisher"]


class Line:
    """One connection. Raises ``OSError`` for what becomes of its socket, ``BadAnswer`` for what comes."""

    def __init__(self, target: Target, context: ssl_module.SSLContext | None, deadline: float) -> None:
        self.exchange = Exchange()
        self.used_at = time.monotonic()
        sock: socket.socket
        if target.unix:
            sock = socket.socket(socket.AF_UNIX)
        else:
            sock = socket.create_connection((target.host, target.port), _left(deadline))
        try:
            sock.settimeout(_left(deadline))
            if target.unix:
                sock.connect(target.unix)
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = context.wrap_socket(sock, server_hostname=target.host)
        except BaseException:
            sock.close()
            raise
        self._sock = sock

    def ask(self, request: bytes, deadline: float) -> Answer:
        """Send a request, and wait for its answer."""
        self._sock.settimeout(_left(deadline))
        self._sock.sendall(request)
        while True:
            self._sock.settimeout(_left(deadline))
            answer = self.exchange.receive(self._sock.recv(READ_BYTES))
            if answer is not None:
                self.used_at = time.monotonic()
                return answer

    def is_fresh(self) -> bool:
        """Whether the server has not closed it, as far as can be seen."""
        if time.monotonic() - self.used_at > IDLE_SECONDS:
            return False
        # What can be read now is the end, or nothing that was asked for.
        return not is_readable(self._sock)

    def close(self) -> None:
        self._sock.close()


def is_readable(sock: socket.socket) -> bool:
    """Whether something has come, or the end."""
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()  # takes any descriptor
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class Publisher:
    """Publishes to a running server from a plain program: Django, Flask, Celery, a script under cron.

    Any number of threads may use one at the same time, and a process that was forked has connections of its
    own. Nothing is sent twice, unless it has an id (``once``): then a message is tried again until the time
    is over.

    Args:
        url: ``http://HOST:PORT``, ``https://...``, or ``unix:/PATH`` of a socket; with a path where the page
            is not at ``/publish``.
        token: The bearer token. Default None: none is sent.
        timeout: Seconds for a message, or for each thousand of :meth:`publish_many` (5).
        ssl: What is trusted, for ``https``. Default: the authorities of the system.

    Raises:
        ValueError: The URL is none, the token no word, or ``timeout`` not more than 0.
        TypeError: An argument is of another type.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 5.0,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        self._door = Door(url, token, timeout, ssl)
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._pid = os.getpid()

    def publish(
        self,
        topic: str,
        message: str | bytes | Unset = UNSET,
        *,
        json: Any = UNSET,
        key: str | None = None,
        remove: bool = False,
        once: str | None = None,
    ) -> Published | None:
        """Publish one message, and wait until the server has it.

        Args:
            topic: The topic's name.
            message: ``str`` or ``bytes``; of a keyed topic ``str`` with the source text of a JSON value.
            json: In place of a message, a value that is sent as JSON text.
            key: Of a keyed topic, the key whose value this is.
            remove: With ``key`` and in place of a message: the key holds nothing any more.
            once: An id for this message, of a topic with a history or keys: within 300 s it is published
                once, however often it is sent, and so it is tried again where the server does not answer.

        Returns:
            Where the message is, and whether it was published before; None of a topic without positions.

        Raises:
            PublishError: It was not published, or nobody knows; its ``code`` says which.
            TypeError: Both ``message`` and ``json`` were given, or none, or of another type.
        """
        item = {"topic": topic, "message": message, "json": json, "key": key, "remove": remove, "once": once}
        return self.publish_many([item])[0]

    def publish_many(self, items: Iterable[Mapping[str, Any]]) -> list[Published | None]:
        """Publish many messages in their order, up to a thousand in a request.

        Args:
            items: Mappings with the arguments of :meth:`publish`: ``{"topic": "news", "json": {"id": 1}}``.

        Returns:
            What :meth:`publish` returns, for each.

        Raises:
            PublishError: Some were not published; ``failed`` says which. What follows them was not sent.
            TypeError: One is no message. All before it are published.
        """
        results: list[Published | None] = []
        for batch in batches(items):
            self._publish(batch)
            results += batch.results
        return results

    def _publish(self, batch: Batch) -> None:
        deadline = time.monotonic() + self._door.timeout
        waits = pauses()
        while not self._attempt(batch, deadline):
            wait = next(waits)
            if time.monotonic() + wait >= deadline:
                raise batch.gave_up()
            time.sleep(wait)

    def _attempt(self, batch: Batch, deadline: float) -> bool:
        """Send what is open; return whether all is published. Raises :class:`PublishError`."""
        door = self._door
        line = self._take()
        if line is None:
            try:
                line = Line(door.target, door.context, deadline)
            except OSError as error:
                door.unreachable(batch, error)
                return False
        try:
            answer = line.ask(door.request(line.exchange, batch), deadline)
        except (OSError, BadAnswer) as error:
            line.close()
            door.unanswered(batch, error)
            return False
        except BaseException:
            line.close()
            raise
        self._give_back(line)
        return batch.answered(answer.status, answer.body)

    def _take(self) -> Line | None:
        """Return a connection that is open already; None where there is none."""
        if self._pid != os.getpid():
            # Forked: the sockets are the parent's, and a thread of its may hold the lock.
            for each in self._idle:
                each.close()
            self._lock, self._idle, self._pid = threading.Lock(), [], os.getpid()
        with self._lock:
            while self._idle:
                line = self._idle.pop()
                if line.is_fresh():
                    return line
                line.close()
        return None

    def _give_back(self, line: Line) -> None:
        with self._lock:
            if line.exchange.is_reusable and len(self._idle) < MAX_IDLE:
                self._idle.append(line)
                return
        line.close()

    def close(self) -> None:
        """Close what is not in use. The next message opens a connection again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
