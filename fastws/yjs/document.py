"""A document in memory: what pycrdt does, with its failures as exceptions of ours."""

from __future__ import annotations

from typing import Any

from fastws.errors import FastWSError
from fastws.yjs.protocol import read_number
from fastws.yjs.updates import Pieces

__all__ = ["EMPTY_UPDATE", "BadUpdate", "BrokenDocument", "Document", "import_pycrdt"]

#: An update that changes nothing.
EMPTY_UPDATE = b"\x00\x00"
#: An update that waits counts as so many bytes at least: each is looked at when something changes.
LEAST_LATE = 256


class BadUpdate(ValueError):
    """A client has sent what is no update of a document, or no state vector of one."""


def import_pycrdt() -> Any:
    """Return the module.

    Raises:
        FastWSError: It is not installed.
    """
    try:
        import pycrdt
    except ImportError as error:
        raise FastWSError(
            f"documents of Yjs need pycrdt: pip install 'fastws-server[yjs]' ({error})"
        ) from None
    return pycrdt


class BrokenDocument(Exception):
    """What was in memory of a document is lost; what is stored is not."""


class Document:
    """One document. It belongs to the thread that made it.

    Raises:
        FastWSError: pycrdt is not installed.
    """

    __slots__ = ("_changes", "_doc", "_late", "_pycrdt", "_subscription", "size")

    def __init__(self) -> None:
        self._pycrdt = import_pycrdt()
        #: Bytes of the document as one update, or somewhat more: what was applied since is added to it.
        self.size = 0
        #: Of updates that wait, at least in part: how far they would bring each client, and their bytes.
        self._late: list[tuple[dict[int, int], int]] = []
        self._begin()

    def _begin(self) -> None:
        self._doc = self._pycrdt.Doc()
        # Nothing of this object is in the callback: no circle keeps the document, which has to end in its
        # own thread.
        changes: list[bytes] = []
        self._changes = changes
        self._subscription = self._doc.observe(lambda event: changes.append(event.update))

    def apply(self, update: bytes) -> list[bytes]:
        """Apply an update.

        Returns:
            What it has changed, as updates: nothing where all of it was known, or waits for another one.

        Raises:
            BadUpdate: It is no update, or cannot be applied. The document is as it was.
            BrokenDocument: It cannot be applied, and what was there before cannot be had any more.
        """
        if update == EMPTY_UPDATE:
            return []
        try:
            self._doc.apply_update(update)
        except (KeyboardInterrupt, SystemExit):
            raise
        except ValueError as error:
            raise BadUpdate(f"not an update: {error}") from None
        except BaseException as error:
            # What cannot be applied waits in the document, and makes the next update fail. After a panic of
            # Rust, which is no ``Exception``, nobody knows what is in it.
            self._begin_again()
            raise BadUpdate(f"an update that cannot be applied: {error}") from None
        finally:
            changes = self._changes[:]
            self._changes.clear()
        self._count(update, sum(map(len, changes)))
        return changes

    def _count(self, update: bytes, changed: int) -> None:
        """Take notice of what an update has added, to the document or to what waits."""
        self.size += len(update)
        if changed and self._late:
            have = clocks_of(self.state())
            self._late = [late for late in self._late if not _is_covered(late[0], have)]
        if changed < len(update) and (clocks := Pieces(self.news_of(update)).ends()):
            self._late.append((clocks, max(LEAST_LATE, len(update) - changed)))

    @property
    def waiting(self) -> int:
        """Bytes, about, of what is not in the document yet: it stands behind something that did not come."""
        return sum(size for _, size in self._late)

    def joined(self, changes: list[bytes]) -> list[bytes]:
        """Return updates as one."""
        return changes if len(changes) < 2 else [bytes(self._pycrdt.merge_updates(*changes))]

    def state(self) -> bytes:
        """Return the state vector: what the document has of which client."""
        return bytes(self._doc.get_state())

    def update_since(self, state: bytes) -> bytes:
        """Return all that a state vector lacks.

        Raises:
            BadUpdate: It is no state vector.
        """
        try:
            return bytes(self._doc.get_update(state))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if not isinstance(error, ValueError):
                self._begin_again()
            raise BadUpdate(f"not a state vector: {error}") from None

    def news_of(self, update: bytes) -> bytes:
        """Return what of an update the document has not.

        Raises:
            BadUpdate: It is no update.
        """
        try:
            return bytes(self._pycrdt.get_update(update, self.state()))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise BadUpdate(f"not an update: {error}") from None

    def snapshot(self) -> bytes:
        """Return the document as one update, and take its size for that of the document."""
        update = bytes(self._doc.get_update())
        self.size = len(update)
        return update

    def close(self) -> None:
        """Let go of the document, in its own thread."""
        self._doc.unobserve(self._subscription)
        self._doc = self._subscription = None

    def _begin_again(self) -> None:
        """Take a new document with what the old one had before."""
        old = self._doc
        self._begin()
        try:
            # Without what waits in it for other updates.
            self._doc.apply_update(old.get_update())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise BrokenDocument(f"pycrdt has broken a document: {error}") from None
        self._changes.clear()
        self._late.clear()


def clocks_of(state: bytes) -> dict[int, int]:
    """Return a state vector as clocks by client."""
    count, at = read_number(state, 0)
    clocks = {}
    for _ in range(count):
        client, at = read_number(state, at)
        clocks[client], at = read_number(state, at)
    return clocks


def _is_covered(clocks: dict[int, int], have: dict[int, int]) -> bool:
    return all(have.get(client, 0) >= clock for client, clock in clocks.items())
