"""What a document holds: applied in memory, told, and written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from fastws.yjs.document import BadUpdate, Document
from fastws.yjs.protocol import BadMessage
from fastws.yjs.stores import Store, StoreError
from fastws.yjs.updates import Pieces
from fastws.yjs.writer import Writer

__all__ = ["Content", "TooLarge"]

#: An update of so few bytes, which has a dozen structs at most, is applied as it is, unless the document has
#: many.
SMALL_UPDATE, MANY_STRUCTS = 64, 5_000
#: The structs of a piece of any other one, at most.
LARGEST_PIECE = 128
#: Each struct of a piece may be compared with each one of the document: so many comparisons may come of a
#: piece, which take a tenth of a second.
COMPARISONS = 100_000
#: Pieces are applied for so many seconds, before others work.
STEP_SECONDS = 0.003
#: Bytes of a document in the store whose pieces are not worth while.
SMALL_DOCUMENT = 4 * 1024

#: Of what a document may have, this part may wait for what did not come.
WAITING_SHARE = 4

#: Is told of a change, and of who has made it: a client, or None.
Tell = Callable[[bytes, Any], None]


class TooLarge(ValueError):
    """The document would become larger than it may be."""


class Content:
    """One document, in memory and in its store.

    Args:
        max_bytes: How large it may become by what clients say.
        tell: Is told of each change.
    """

    def __init__(self, max_bytes: int, tell: Tell) -> None:
        self._max_bytes = max_bytes
        self._tell = tell
        self._document = Document()
        self._writer: Writer | None = None
        #: Structs that were applied; those that have become one count too.
        self._structs = 0
        self._clock: Callable[[], float] = time.perf_counter

    async def load(self, store: Store, name: str) -> None:
        """Read what is kept, and keep what changes from now on.

        Raises:
            StoreError: It cannot be read, or is no document.
        """
        stored = await store.open(name)
        writer = Writer(stored, self._document.snapshot)
        try:
            for update in await writer.open():
                if len(update) <= SMALL_DOCUMENT:
                    self.apply(update, None)
                    continue
                for _ in self._steps(update, None):
                    await asyncio.sleep(0)
            self._document.snapshot()
        except (BadMessage, BadUpdate) as error:
            await stored.close()
            raise StoreError(f"what is kept is no document: {error}") from None
        except BaseException:
            await stored.close()
            raise
        self._writer = writer
        writer.want_lock()

    @property
    def is_written_here(self) -> bool:
        """True where this process has the document's lock."""
        return self._writer is not None and self._writer.has_lock

    def state(self) -> bytes:
        """Return what the document has, as a state vector."""
        return self._document.state()

    def update_since(self, state: bytes) -> bytes:
        """Return what a state vector lacks. Raises ``BadUpdate``."""
        return self._document.update_since(state)

    def apply(self, update: bytes, sender: Any) -> None:
        """Apply an update that is no larger than ``SMALL_UPDATE``. Raises ``BadUpdate``."""
        self._structs += 1
        self._share(self._document.apply(update), sender)

    def is_small(self, update: bytes) -> bool:
        """True for an update that :meth:`apply` takes."""
        return len(update) <= SMALL_UPDATE and self._structs < MANY_STRUCTS

    def _share(self, changes: list[bytes], sender: Any) -> None:
        for change in changes:
            self._tell(change, sender)
        if self._writer is not None:
            self._writer.add(changes)

    def steps(self, update: bytes, sender: Any) -> Iterator[None]:
        """Apply an update of a client in steps, each of which is short; yield between them.

        Raises:
            TooLarge: The document would become too large.
            BadMessage: It is no update.
            BadUpdate: It cannot be applied. What came before that stays.
        """
        self._check_size(update)
        if self.is_small(update):
            self.apply(update, sender)
        else:
            yield from self._steps(update, sender)

    async def apply_slowly(self, update: bytes) -> None:
        """Apply an update of another process, however large, and let others work meanwhile."""
        for _ in self._steps(update, None):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Write what waits, and let go of the document."""
        try:
            if self._writer is not None:
                await self._writer.close()
        finally:
            self._document.close()

    def _steps(self, update: bytes, sender: Any) -> Iterator[None]:
        pieces = Pieces(update)
        is_more = True
        while is_more:
            changes: list[bytes] = []
            until = self._clock() + STEP_SECONDS
            try:
                while is_more:
                    most = max(1, min(LARGEST_PIECE, COMPARISONS // (1 + self._structs)))
                    piece = pieces.take(most)
                    is_more = piece is not None
                    if piece is not None:
                        self._structs += most
                        changes += self._document.apply(piece)
                    if self._clock() > until:
                        break
            finally:
                # What came before a piece that is none stays.
                self._share(self._document.joined(changes), sender)
            if is_more:
                yield

    def _check_size(self, update: bytes) -> None:
        document, most = self._document, self._max_bytes
        if document.waiting > most // WAITING_SHARE:
            raise TooLarge("too much stands behind what did not come")
        if document.size + len(update) <= most:
            return
        document.snapshot()
        if document.size + len(document.news_of(update)) > most:
            raise TooLarge(f"the document would have more than {most} bytes")
