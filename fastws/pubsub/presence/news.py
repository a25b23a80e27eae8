"""What clients of feeds are told: all who are here first, then what has changed. No I/O, no clock."""

from __future__ import annotations

from enum import Enum

from fastws.json import dumps
from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.classes import PresenceMode
from fastws.pubsub.presence.people import People

__all__ = ["LIST_AGAIN", "MOST_LISTED", "News"]

TEXT = int(Opcode.TEXT)
#: With more members clients are told the number alone; and a list again when there are no more than so many.
#: Between both it stays as it is: one who comes and goes must not cost a list each time.
MOST_LISTED = 200
LIST_AGAIN = 160


class Form(Enum):
    """What clients have been told."""

    NOTHING = "nobody listens"
    LIST = "each member"
    NUMBER = "the number alone"


class News:
    """Those of one topic. The frames are those of the feed protocol."""

    __slots__ = ("_count", "_form", "_head", "_mode", "_people", "_told")

    def __init__(self, topic: str, people: People, mode: PresenceMode) -> None:
        self._people = people
        self._mode = mode
        self._form = Form.NOTHING
        self._head = b'{"t":' + dumps(topic) + b',"presence":{"count":'
        #: What clients know: the number, and each member as it was told.
        self._count = 0
        self._told: dict[str, bytes] = {}

    def take(self) -> bytes | None:
        """Return what is new since the last time; None for nothing. It counts as told."""
        people = self._people
        before, self._form = self._form, self._next_form()
        count, self._count = self._count, len(people)
        changed, people.changed = people.changed, None
        if self._form is Form.NUMBER:
            self._told = {}
            return None if before is Form.NUMBER and count == len(people) else self.all()
        people.changed = {}
        if before is Form.LIST:
            return self._changes(changed or {})
        self._told = {person.id: person.source() for person in people}
        return self.all()

    def all(self) -> bytes:
        """Return what who knows nothing is told, right behind :meth:`take`."""
        if self._form is Form.NUMBER:
            return self._frame(b"")
        return self._frame(b',"list":[%b]' % b",".join(self._told.values()))

    def size(self) -> int:
        """Return the bytes of the members that a newcomer would be told."""
        return sum(map(len, self._told.values()))

    def forget(self) -> None:
        """Nobody listens any more, so nobody has been told anything."""
        self._form = Form.NOTHING
        self._told = {}
        self._people.changed = None

    def _next_form(self) -> Form:
        if self._mode is PresenceMode.COUNT:
            return Form.NUMBER
        most = LIST_AGAIN if self._form is Form.NUMBER else MOST_LISTED
        return Form.LIST if len(self._people) <= most else Form.NUMBER

    def _changes(self, changed: dict[str, None]) -> bytes | None:
        told = self._told
        came: list[bytes] = []
        left: list[bytes] = []
        for id in changed:
            person = self._people.find(id)
            if person is None:
                if told.pop(id, None) is not None:
                    left.append(dumps(id))
                continue
            source = person.source()
            if told.get(id) != source:
                told[id] = source
                came.append(source)
        if not came and not left:
            return None
        joined = b',"join":[%b]' % b",".join(came) if came else b""
        gone = b',"leave":[%b]' % b",".join(left) if left else b""
        return self._frame(joined + gone)

    def _frame(self, rest: bytes) -> bytes:
        return encode(TEXT, b"%b%d%b}}" % (self._head, self._count, rest))
