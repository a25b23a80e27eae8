"""A document in memory: what pycrdt does, with its failures as exceptions of ours."""

from __future__ import annotations

from typing import Any

from fastws.errors import FastWSError

__all__ = ["EMPTY_UPDATE", "BadUpdate", "BrokenDocument", "Document", "import_pycrdt"]

#: An update that changes nothing.
EMPTY_UPDATE = b"\x00\x00"


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

    __slots__ = ("_changes", "_doc", "_pycrdt", "_subscription", "size", "waiting")

    def __init__(self) -> None:
        self._pycrdt = import_pycrdt()
        #: Bytes of the document as one update, or somewhat more: what was applied since is added to it.
        self.size = 0
        #: Bytes, about, of what is not in it yet, since it stands behind something that did not come.
        self.waiting = 0
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
        if changed > len(update):
            self.waiting = max(0, self.waiting - changed + len(update))
        elif changed < len(update) and self.news_of(update)[0]:
            self.waiting += len(update) - changed

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
        self.waiting = 0
