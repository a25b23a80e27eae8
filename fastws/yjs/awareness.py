"""Who is at a document, and where: one entry for each client, of which only the last one counts."""

from __future__ import annotations

import json
from typing import NoReturn

from fastws.yjs.protocol import BadMessage, Entry, read_awareness, write_number

__all__ = ["Awareness"]

#: Clients of a document that are known at once, with those that have gone.
MAX_ENTRIES = 10_000
#: y-websocket sends back all that it was told. A message of more entries that does not name the connection's
#: own is that, and is not read.
MAX_OWN = 4
#: Seconds after which an entry of another process is dropped that was not told again, as clients do it; and
#: for which it is known who has gone, so that what others send back does not bring him to life.
STALE_SECONDS = 30.0


class Awareness:
    """The entries of one document.

    An entry belongs to the connection that has said it first; what any other one says about that client is
    what it was told itself, sent back. Entries of other processes belong to nobody here.

    Args:
        max_bytes: How many bytes of JSON one client may say.
    """

    __slots__ = ("_changed", "_entries", "_max_bytes", "_own", "_owner", "_seen")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: dict[int, Entry] = {}
        #: Whose entry it is; none for those of other processes, and for who has gone.
        self._owner: dict[int, object] = {}
        #: By connection, the clients that are its own.
        self._own: dict[object, list[int]] = {}
        #: When an entry was told last.
        self._seen: dict[int, float] = {}
        #: The clients whose entries :meth:`take` returns, and whether they were said here.
        self._changed: dict[int, bool] = {}

    @property
    def has_changes(self) -> bool:
        """True while :meth:`take` would return something."""
        return bool(self._changed)

    def receive(self, owner: object, content: bytes, now: float) -> list[Entry]:
        """Take what a connection says.

        Returns:
            What that connection has to be told: that others hold its client for gone. It then says again that
            it is here, with a clock that counts for them.

        Raises:
            BadMessage: It is no awareness update, or says too much.
        """
        own = self._own.get(owner, [])
        is_long = content[:1] > bytes((MAX_OWN,))
        if is_long and own and not any(write_number(client) in content for client in own):
            return []
        told: list[Entry] = []
        entries = read_awareness(content, MAX_ENTRIES)
        for entry in entries:
            if not self._may_say(owner, entry, is_first=not own and len(entries) == 1):
                continue
            self._check(entry)
            self._own_it(owner, entry.client)
            if not self._put(entry, now, is_local=True) and entry.state is not None:
                known = self._entries[entry.client]
                if known.state is None:
                    told.append(known)
        return told

    def merge(self, entries: list[Entry], now: float) -> None:
        """Take what another process tells."""
        for entry in entries:
            known = self._entries.get(entry.client)
            if known is None and len(self._entries) >= MAX_ENTRIES:
                continue
            if entry.client in self._owner:
                # Who has connected elsewhere is told so by the end of his old connection here.
                if known is None or entry.clock <= known.clock or entry.state is None:
                    continue
                self._disown(entry.client)
            self._put(entry, now, is_local=False)

    def leave(self, owner: object, now: float) -> None:
        """A connection has ended: remove what it has said."""
        for client in self._own.pop(owner, ()):
            del self._owner[client]
            # With the same clock, as y-websocket does: who comes back says the next one.
            self._put(self._entries[client]._replace(state=None), now, is_local=True)

    def expire(self, now: float) -> None:
        """Remove entries of other processes that were not told again, and forget who has gone long ago."""
        for client, seen in list(self._seen.items()):
            if client in self._owner or now - seen < STALE_SECONDS:
                continue
            entry = self._entries[client]
            if entry.state is None:
                del self._entries[client], self._seen[client]
            else:
                self._put(entry._replace(state=None), now, is_local=False)

    def present(self) -> list[Entry]:
        """Return the entries of all who are here."""
        return [entry for entry in self._entries.values() if entry.state is not None]

    def everything(self) -> list[Entry]:
        """Return the entries of all who are here, and of who has gone not long ago."""
        return list(self._entries.values())

    def said_here(self) -> list[Entry]:
        """Return the entries that connections of this process have said."""
        return [entry for entry in self.present() if entry.client in self._owner]

    def take(self) -> tuple[list[Entry], list[Entry]]:
        """Return the entries that have changed since the last time, and those of them that were said here."""
        changed, self._changed = self._changed, {}
        found = [self._entries[client] for client in changed if client in self._entries]
        return found, [entry for entry in found if changed[entry.client]]

    def _may_say(self, owner: object, entry: Entry, *, is_first: bool) -> bool:
        client = entry.client
        holder = self._owner.get(client)
        if holder is owner:
            return True
        known = self._entries.get(client)
        if entry.state is None or (known is None and len(self._entries) >= MAX_ENTRIES):
            return False
        if len(self._own.get(owner, ())) >= MAX_OWN:
            return False
        # The first word of a connection is about itself: perhaps its old one has not ended yet. What comes
        # later about others was told here, and is sent back.
        return known is None or is_first or (known.state is None and entry.clock > known.clock)

    def _own_it(self, owner: object, client: int) -> None:
        if self._owner.get(client) is not owner:
            self._disown(client)
            self._own.setdefault(owner, []).append(client)
            self._owner[client] = owner

    def _disown(self, client: int) -> None:
        holder = self._owner.pop(client, None)
        if holder is not None:
            self._own[holder].remove(client)

    def _check(self, entry: Entry) -> None:
        """Raise ``BadMessage`` for a state that would break the clients that are told it."""
        if entry.state is None:
            return
        if len(entry.state) > self._max_bytes:
            raise BadMessage(
                f"an awareness state has {len(entry.state)} bytes; {self._max_bytes} are allowed"
            )
        try:
            DECODER.decode(entry.state.decode())
        except (ValueError, RecursionError):
            raise BadMessage("an awareness state is no JSON") from None

    def _put(self, entry: Entry, now: float, *, is_local: bool) -> bool:
        known = self._entries.get(entry.client)
        if known is None:
            if entry.state is None:
                return False
        else:
            has_gone = entry.state is None and known.state is not None
            if entry.clock < known.clock or (entry.clock == known.clock and not has_gone):
                return False
        self._entries[entry.client] = entry
        self._seen[entry.client] = now
        self._changed[entry.client] = is_local
        return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


#: As strict as that of JavaScript.
DECODER = json.JSONDecoder(parse_constant=_refuse)
