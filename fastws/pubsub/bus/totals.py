"""How many listen to a topic in all processes: each is asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastws.pubsub.bus.records import Kind, encode_record

if TYPE_CHECKING:
    from fastws.pubsub.bus.peer import Peer

__all__ = ["Totals"]


class Question:
    """One question: who has not answered yet, and the sum of those who have."""

    __slots__ = ("answer", "silent", "sum")

    def __init__(self, silent: set[Peer], here: int) -> None:
        self.silent = silent
        self.sum = here
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def count(self, peer: Peer, listeners: int) -> None:
        if peer in self.silent:
            self.silent.discard(peer)
            self.sum += listeners
            if not self.silent and not self.answer.done():
                self.answer.set_result(None)


class Totals:
    """The questions that wait for answers."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self._number = 0
        self._questions: dict[int, Question] = {}

    async def ask(self, key: bytes, here: int, timeout: float) -> int:
        """Ask all. Raises ``TimeoutError`` where one has not answered within ``timeout`` seconds."""
        peers = set(self._bus.peers)
        if not peers or self._bus.loop is None:
            return here
        self._number += 1
        number = self._number
        question = self._questions[number] = Question(peers, here)
        self._bus.tell(encode_record(Kind.ASK, 0, key, 0, number))
        try:
            # Not wait_for: before Python 3.12 it forgets a cancellation in the turn of the answer.
            async with asyncio.timeout(timeout):
                await question.answer
        except TimeoutError:
            silent = ", ".join(str(peer.identity) for peer in question.silent)
            raise TimeoutError(f"no answer within {timeout:g} s of the processes {silent}") from None
        finally:
            del self._questions[number]
        return question.sum

    def answered(self, peer: Peer, number: int, listeners: int) -> None:
        """A peer has answered, perhaps too late."""
        question = self._questions.get(number)
        if question is not None:
            question.count(peer, listeners)

    def lost(self, peer: Peer) -> None:
        """A peer is gone: nobody listens there."""
        for question in list(self._questions.values()):
            question.count(peer, 0)
