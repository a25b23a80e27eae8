"""Those who are in one topic, each as often as it has connections, by who said so. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator

from fastws.json import dumps, loads
from fastws.pubsub.events import Member

__all__ = ["People", "Person"]


class Person:
    """One of them."""

    __slots__ = ("_parts", "id", "key")

    def __init__(self, id: str) -> None:
        self.id = id
        #: The id as JSON. A copy: orjson leaves its bytes in a larger block.
        self.key = bytes(memoryview(dumps(id)))
        #: How many connections each owner counts, and what is shown beside the name; the newest word last.
        self._parts: dict[str, tuple[int, bytes]] = {}

    @property
    def connections(self) -> int:
        """How many there are, of all owners."""
        return sum(count for count, _ in self._parts.values())

    @property
    def info(self) -> bytes:
        """What was said last to be shown beside the name, as JSON."""
        return next(reversed(self._parts.values()))[1]

    def put(self, owner: str, count: int, info: bytes) -> bool:
        """Take an owner's word; False where nobody counts a connection any more."""
        before = self._parts.get(owner)
        if before is not None and not (count and before[1] == info):
            del self._parts[owner]
        if count:
            self._parts[owner] = count, info  # where it stands, if only the number is new
        return bool(self._parts)

    def said_by(self, owner: str) -> tuple[int, bytes] | None:
        """Return what an owner has said; None for nothing."""
        return self._parts.get(owner)

    def source(self) -> bytes:
        """Return the JSON of a member."""
        return b'{"id":%b,"n":%d,"info":%b}' % (self.key, self.connections, self.info)

    def member(self) -> Member:
        """Return the same as a value."""
        return Member(self.id, self.connections, loads(self.info))


class People:
    """An *owner* is who has connections and counts them, such as a process: it says how many there are."""

    __slots__ = ("_owned", "_people", "changed")

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}
        #: Whom each owner counts.
        self._owned: dict[str, dict[str, None]] = {}
        #: Those of whom something is new, noted while somebody wants to know: None where nobody does.
        self.changed: dict[str, None] | None = None

    def __len__(self) -> int:
        return len(self._people)

    def __iter__(self) -> Iterator[Person]:
        return iter(self._people.values())

    def find(self, id: str) -> Person | None:
        """Return who has that id; None for nobody."""
        return self._people.get(id)

    def put(self, owner: str, id: str, count: int, info: bytes) -> None:
        """Let ``owner`` have so many connections of ``id`` from now on, 0 for none."""
        person = self._people.get(id)
        if person is None:
            if not count:
                return
            self._people[id] = person = Person(id)
        if self.changed is not None:
            self.changed[id] = None
        if not person.put(owner, count, info):
            del self._people[id]
        owned = self._owned.setdefault(owner, {})
        if count:
            owned[id] = None
        else:
            owned.pop(id, None)
            if not owned:
                del self._owned[owner]

    def of(self, owner: str) -> list[Person]:
        """Return those whom ``owner`` counts."""
        return [self._people[id] for id in self._owned.get(owner, ())]

    def replace(self, owner: str, entries: dict[str, tuple[int, bytes]]) -> None:
        """Let ``owner`` have these and no others."""
        for id in list(self._owned.get(owner, ())):
            if id not in entries:
                self.put(owner, id, 0, b"")
        for id, (count, info) in entries.items():
            person = self._people.get(id)
            if person is None or person.said_by(owner) != (count, info):
                self.put(owner, id, count, info)

    def drop(self, owner: str) -> None:
        """Let ``owner`` have none."""
        self.replace(owner, {})

    def drop_others(self, owner: str) -> None:
        """Let all but ``owner`` have none."""
        for other in [each for each in self._owned if each != owner]:
            self.drop(other)
