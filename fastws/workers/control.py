"""The control pair of a worker: messages in JSON, each with file descriptors if need be.

A message is its length (``<I``) and a JSON object with ``kind``; ``fds`` says how many descriptors come with
it (SCM_RIGHTS, unix(7)). Passwords travel here and not in a command line, which every user may read.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Channel", "ControlError", "Message"]

LENGTH = struct.Struct("<I")
#: More is no message of ours.
MAX_MESSAGE_SIZE = 16 * 1024 * 1024
READ_SIZE = 256 * 1024
#: Most descriptors that one call of sendmsg(2) takes (SCM_MAX_FD).
MAX_DESCRIPTORS = 253


class ControlError(Exception):
    """The other side has sent what is no message."""


@dataclass(slots=True)
class Message:
    """A message that has come; who takes it owns its descriptors."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    fds: list[int] = field(default_factory=list)


class Channel:
    """One end of a control pair. It never waits, but in :meth:`wait`.

    Args:
        sock: the end of a stream pair (AF_UNIX). The channel owns it.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.sock = sock
        #: True when the other side has gone, and all that it has said has been read.
        self.ended = False
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._in = bytearray()
        self._fds: deque[int] = deque()
        self._ready: deque[Message] = deque()

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self.sock.fileno()

    @property
    def has_output(self) -> bool:
        """True while messages wait for the socket."""
        return bool(self._out)

    def send(self, kind: str, fds: Sequence[int] = (), /, **values: Any) -> None:
        """Send a message, at once or by a later :meth:`flush`; then close our copies of the descriptors."""
        body = json.dumps({**values, "kind": kind, "fds": len(fds)}).encode()
        if self.ended or len(body) > MAX_MESSAGE_SIZE or len(fds) > MAX_DESCRIPTORS:
            _close_all(fds)
            if not self.ended:
                raise ControlError(f"a message of {len(body)} bytes and {len(fds)} descriptors is too large")
            return
        self._out.append((memoryview(LENGTH.pack(len(body)) + body), list(fds)))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._out:
            data, fds = self._out[0]
            try:
                sent = socket.send_fds(self.sock, [data], fds) if fds else self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # Nobody takes it any more; what the other side has said before is still to be read.
                self._drop_output()
                return
            _close_all(fds)
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], [])

    def receive(self) -> list[Message]:
        """Return the messages that have come. Look at :attr:`ended` after them.

        Raises:
            ControlError: what has come is no message.
        """
        while not self.ended:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, READ_SIZE, MAX_DESCRIPTORS)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data, fds = b"", []
            for fd in fds:
                os.set_inheritable(fd, False)  # noqa: FBT003
            self._fds.extend(fds)
            self._in += data
            if not data:
                self._end()
            self._parse()
        messages = list(self._ready)
        self._ready.clear()
        return messages

    def wait(self) -> Message | None:
        """Wait for the next message; None when the other side has gone. Others stay for :meth:`receive`."""
        while True:
            messages = self.receive()
            if messages:
                self._ready.extend(messages[1:])
                return messages[0]
            if self.ended:
                return None
            select.select([self.sock], [], [])

    def close(self) -> None:
        """Close the socket, and the descriptors that have not been taken."""
        self._end()
        for message in self._ready:
            _close_all(message.fds)
        _close_all(self._fds)
        self._ready.clear()
        self._fds.clear()
        self.sock.close()

    def _end(self) -> None:
        self.ended = True
        self._drop_output()

    def _drop_output(self) -> None:
        for _, fds in self._out:
            _close_all(fds)
        self._out.clear()

    def _parse(self) -> None:
        while len(self._in) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._in)
            if size > MAX_MESSAGE_SIZE:
                raise ControlError(f"a message of {size} bytes is announced")
            if len(self._in) < LENGTH.size + size:
                return
            body = bytes(self._in[LENGTH.size : LENGTH.size + size])
            del self._in[: LENGTH.size + size]
            self._ready.append(self._message(body))

    def _message(self, body: bytes) -> Message:
        try:
            values = json.loads(body)
            kind, count = str(values.pop("kind")), int(values.pop("fds"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ControlError("a message is no JSON object with kind and fds") from error
        if not 0 <= count <= len(self._fds):
            raise ControlError(f"{kind} announces {count} descriptors, and {len(self._fds)} have come")
        return Message(kind, values, [self._fds.popleft() for _ in range(count)])


def _close_all(fds: Sequence[int] | deque[int]) -> None:
    for fd in fds:
        os.close(fd)
