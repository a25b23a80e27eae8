"""Async iterators of a body, which note what happens to them."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["FOREVER", "Pieces"]


class Pieces:
    """An async iterator that notes what happens to it; an exception among the pieces is raised."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = list(pieces)
        self.asked = 0
        self.said: list[str] = []

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> Any:
        self.asked += 1
        if not self.pieces:
            raise StopAsyncIteration
        piece = self.pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        if piece is FOREVER:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.said.append("cancelled")
                raise
        return piece

    async def aclose(self) -> None:
        self.said.append("closed")


#: In place of a piece: the iterator waits.
FOREVER = object()
