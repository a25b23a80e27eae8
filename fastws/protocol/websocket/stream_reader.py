"""Reads messages in parts, as they arrive, for messages that should not be held in memory as a whole.

The engines collect a message before they give it out. This reader uses wsproto, which does not. It costs
more for each frame, but it is meant for large frames. It cannot be used with deflate: how large a
compressed message becomes is not known from a part of it.
"""

from __future__ import annotations

import sys
from typing import Any

from wsproto import events as wsevents

from fastws.protocol.websocket import engine_wsproto
from fastws.protocol.websocket.events import Close, Fail, Fragment, More

__all__ = ["StreamReader"]

#: Bytes given to wsproto at a time, because it copies all that it holds at every frame.
SLICE_SIZE = 8 * 1024
#: Frames of one call, at 10 us each. Then the call ends, so that other connections have their turn.
TURN_FRAMES = 512


class StreamReader(engine_wsproto.Reader):
    """An engine's reader that gives out ``Fragment`` in place of messages.

    Its limits are the size of a message, if there is one, and the empty fragments in a row.
    """

    __slots__ = ("_parts", "_rest")

    def __init__(self, max_message_size: int | None, max_empty_fragments: int, *, client: bool) -> None:
        unlimited = sys.maxsize
        super().__init__(max_message_size or unlimited, unlimited, max_empty_fragments, None, client=client)
        self._parts: list[Any] = []
        self._rest = b""

    def receive(self, data: Any, size: int | None = None, /) -> list[Any]:
        found = bytes(data) if size is None else bytes(memoryview(data)[:size])
        data, self._rest = memoryview(self._rest + found if self._rest else found), b""
        events: list[Any] = []
        frames = start = 0
        try:
            while start < len(data) and not self._ended:
                if frames >= TURN_FRAMES:
                    self._rest = bytes(data[start:])
                    self._join(events, final=False)
                    events.append(More())
                    return events
                self._connection.receive_data(data[start : start + SLICE_SIZE])
                start += SLICE_SIZE
                for event in self._connection.events():
                    frames += 1
                    self._take(event, events)
        except BaseException:
            self._ended = True
            raise
        self._join(events, final=False)
        return events

    def _take(self, found: wsevents.Event, events: list[Any]) -> None:
        if isinstance(found, wsevents.TextMessage | wsevents.BytesMessage):
            if found.data:
                self._parts.append(found.data)
            elif not self._parts and found.message_finished:
                self._parts.append("" if isinstance(found, wsevents.TextMessage) else b"")
            if found.message_finished:
                self._join(events, final=True)
            return
        self._join(events, final=False)
        event = self._event(found)
        events.append(event)
        self._ended = type(event) in (Close, Fail)

    def _join(self, events: list[Any], *, final: bool) -> None:
        """Make one ``Fragment`` of all parts of a message that this call has brought."""
        parts, self._parts = self._parts, []
        if parts:
            data = "".join(parts) if isinstance(parts[0], str) else b"".join(parts)
            events.append(Fragment(data, final))
