"""Messages in parts, as they arrive: for those that are larger than memory should hold.

The engines collect a message before they give it out. This reader is wsproto's, which does not; what
it costs per frame is little beside the large frames it is meant for. No deflate: what a compressed
message becomes cannot be told from the part of it that is here.
"""

from __future__ import annotations

import sys
from typing import Any

from wsproto import events as wsevents

from fastws.protocol.websocket import engine_wsproto
from fastws.protocol.websocket.events import Close, Fail, Fragment, More

__all__ = ["StreamReader"]

#: Bytes that wsproto is given at a time: it copies what it holds at every frame.
SLICE = 8 * 1024
#: Frames of one call, at 10 us each, before other connections have their turn.
TURN_FRAMES = 512


class StreamReader(engine_wsproto.Reader):
    """As an engine's reader, with ``Fragment`` in place of messages and without their limits.

    Only empty fragments in a row are counted.
    """

    __slots__ = ("_parts", "_rest")

    def __init__(self, client: bool, max_message_size: int | None, max_empty_fragments: int) -> None:
        most = sys.maxsize
        super().__init__(client, max_message_size or most, most, max_empty_fragments, None)
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
                    self._join(events, False)
                    events.append(More())
                    return events
                self._connection.receive_data(data[start : start + SLICE])
                start += SLICE
                for event in self._connection.events():
                    frames += 1
                    self._take(event, events)
        except BaseException:
            self._ended = True
            raise
        self._join(events, False)
        return events

    def _take(self, found: wsevents.Event, events: list[Any]) -> None:
        if isinstance(found, wsevents.TextMessage | wsevents.BytesMessage):
            if found.data:
                self._parts.append(found.data)
            elif not self._parts and found.message_finished:
                self._parts.append("" if isinstance(found, wsevents.TextMessage) else b"")
            if found.message_finished:
                self._join(events, True)
            return
        self._join(events, False)
        event = self._event(found)
        events.append(event)
        self._ended = type(event) in (Close, Fail)

    def _join(self, events: list[Any], final: bool) -> None:
        """Make one part of what has come of a message in this call."""
        parts, self._parts = self._parts, []
        if parts:
            data = "".join(parts) if isinstance(parts[0], str) else b"".join(parts)
            events.append(Fragment(data, final))
