"""How many listen on all nodes: gateways ask each other, and each asks its workers.

Each one says every five seconds that it is there, so all know whose answers to wait for. What they say is
JSON, by a name that no hub has: what it is, the node, and the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.json import dumps, loads
from fastws.pubsub.brokers.base import Broker, name_of

__all__ = ["CENSUS", "Census"]

log = logging.getLogger("fastws.error")

#: A hub's name has no NUL in it.
CENSUS = name_of("\0nodes", "census")
#: Seconds between two words of a node, and after which one that has said nothing is gone.
SAY_TICKS, GONE_TICKS = 5, 15
#: A question that nobody waits for any more is forgotten.
ASK_TICKS = 60


class Question:
    """One that waits for answers."""

    def __init__(self, nodes: set[str], sum: asyncio.Future[int]) -> None:
        self._silent = nodes
        self._sum = sum
        self._so_far = 0
        self.ticks = 0

    def take(self, node: str, count: int) -> None:
        """Take a node's answer, or 0 of one that is gone."""
        if node in self._silent:
            self._silent.discard(node)
            self._so_far += count
            if not self._silent and not self._sum.done():
                self._sum.set_result(self._so_far)

    def is_over(self) -> bool:
        """True when nobody waits for it."""
        return self._sum.done() or self.ticks >= ASK_TICKS


class Census:
    """A node's part in it. Everything here runs on one loop.

    Args:
        broker: What joins the nodes.
        node: This node's name.
        count: Called with the names of hub and topic; says how many listen on this node.
    """

    def __init__(self, broker: Broker, node: str, count: Callable[[str, str], Awaitable[int]]) -> None:
        self._broker = broker
        self._node = node
        self._count = count
        #: The other nodes, and for how many seconds each has been silent.
        self._nodes: dict[str, int] = {}
        self._ticks = 0
        self._number = 0
        self._questions: dict[int, Question] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Be counted from now on."""
        self._broker.follow(CENSUS)
        self._say("hello")

    def close(self) -> None:
        """Be counted no more."""
        self._say("bye")
        for task in self._tasks:
            task.cancel()

    def ask(self, hub: str, topic: str) -> asyncio.Future[int]:
        """Return how many listen on all other nodes, as soon as each has answered."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not self._nodes:
            answer.set_result(0)
            return answer
        self._number += 1
        self._questions[self._number] = Question(set(self._nodes), answer)
        self._say("ask", self._number, hub, topic)
        return answer

    def take(self, blob: bytes) -> None:
        """Take what a node has said, this one too."""
        try:
            what, node, *rest = loads(blob)
            if node != self._node:
                self._take(str(what), str(node), rest)
        except (ValueError, TypeError):
            log.error("broker %s: a node has said what makes no sense: %r", self._broker.label, blob[:80])

    def tick(self, *, is_ready: bool) -> None:
        """Once a second: say that this node is there; forget those that are not."""
        for number, question in list(self._questions.items()):
            question.ticks += 1
            if question.is_over():
                del self._questions[number]
        if not is_ready:
            return
        self._ticks += 1
        if self._ticks % SAY_TICKS == 0:
            self._say("here")
        for node in list(self._nodes):
            self._nodes[node] += 1
            if self._nodes[node] > GONE_TICKS:
                self._lose(node)

    # -- what is said ---------------------------------------------------------------------------

    def _say(self, what: str, *rest: Any) -> None:
        self._broker.publish(CENSUS, dumps([what, self._node, *rest]))

    def _take(self, what: str, node: str, rest: list[Any]) -> None:
        if what == "bye":
            self._lose(node)
            return
        self._nodes[node] = 0
        if what == "hello":
            self._say("here")
        elif what == "ask":
            number, hub, topic = rest
            task = asyncio.get_running_loop().create_task(self._answer(node, number, hub, topic))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif what == "answer":
            to, number, count = rest
            if to == self._node and number in self._questions:
                self._questions[number].take(node, int(count))

    async def _answer(self, node: str, number: int, hub: str, topic: str) -> None:
        try:
            count = await self._count(hub, topic)
        except TimeoutError as error:
            log.error("broker %s: another node is not told how many listen: %s", self._broker.label, error)
        else:
            self._say("answer", node, number, count)

    def _lose(self, node: str) -> None:
        self._nodes.pop(node, None)
        for question in self._questions.values():
            question.take(node, 0)
