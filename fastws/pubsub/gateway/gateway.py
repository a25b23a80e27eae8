"""The gateway of a node: its one connection to the broker, and what its workers have of other nodes.

It runs in the keeper's process, or in the process of the hubs where there is one only. Each worker has two
lines to it: that of the bus, for plain topics, and that of the keeper.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from hashlib import blake2b

from fastws.meters.meters import measuring
from fastws.pubsub.brokers.base import Broker, Entry, State, name_of, names_in
from fastws.pubsub.brokers.envelope import NODE_BYTES
from fastws.pubsub.bus.lanes import key_of, names_of
from fastws.pubsub.bus.peer import Peer
from fastws.pubsub.bus.receiving import FIRST_GATEWAY
from fastws.pubsub.gateway.census import CENSUS, Census
from fastws.pubsub.gateway.node_bus import NodeBus
from fastws.pubsub.gateway.plain import Plain
from fastws.pubsub.gateway.relaying import RelayingKeeper

__all__ = ["Gateway"]

log = logging.getLogger("fastws.error")

#: Seconds that workers have to say how many listen.
COUNT_SECONDS = 4.0
#: Seconds between two looks whether all that workers have said is read, and how many of them.
LOOK_SECONDS, LOOKS = 0.005, 40


#: What the broker refuses to let us hear is tried again after so many seconds, and told again.
UNHEARD_TICKS = 5


class Gateway:
    """What hears the broker. Everything here runs on the loop on which it is made.

    Args:
        broker: What joins the nodes. It is started and closed here.
        node: The node's name, the same for each gateway that it has. Default: one of this gateway's own.
        identity: What it is called on the bus, another number for each gateway. Default: a new one.
        dropped: Called with the identity of a worker that says what makes no sense, and is let go.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        node: str | None = None,
        identity: int | None = None,
        dropped: Callable[[int], None] | None = None,
    ) -> None:
        self._broker = broker
        self.identity = identity or FIRST_GATEWAY + secrets.randbits(62)
        name = node or secrets.token_hex(8)
        self.keeper = RelayingKeeper(broker, name, dropped=dropped)
        self.bus = NodeBus(
            self.identity,
            on_run=self._run,
            on_missed=self._missed,
            on_follow=self._followed,
            on_tick=self._tick,
            on_ask=self._asked,
        )
        self.census = Census(broker, name, self._count)
        on_the_wire = blake2b(name.encode(), digest_size=NODE_BYTES).digest()
        self.plain = Plain(broker, self.bus.relay, self.bus.skip, on_the_wire)
        #: Topics that are followed and that the broker refuses, and why; they are tried again.
        self._unheard: dict[str, str] = {}
        self._ticks = 0
        self._state = State.AWAY
        #: The last line of the log: none stands there twice in a row.
        self._said = ""
        self._measure()

    async def start(self, timeout: float) -> None:
        """Connect to the broker. Raises :class:`BrokerUnavailable`."""
        await self.bus.start()
        await self._broker.start(self, timeout)
        self.census.start()

    def add_worker(
        self, bus_line: socket.socket, keeper_line: socket.socket, identity: int
    ) -> tuple[Peer, Peer]:
        """Serve a worker over connected stream sockets, which the gateway owns from now on."""
        return self.bus.add_peer(bus_line, identity), self.keeper.add_worker(keeper_line, identity)

    async def hear_out(self) -> None:
        """Read what workers have said that leave, for a moment at most."""
        for _ in range(LOOKS):
            if not self.bus.peers:
                break
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Hand over what waits, for a second at most, and let go of all."""
        await asyncio.sleep(0)  # what workers have just said is read
        self.keeper.close()
        self.census.close()
        await self._broker.close()
        await self.bus.close()

    # -- what workers say -----------------------------------------------------------------------

    def _run(self, hub: str, topic: str, body: bytes, count: int) -> None:
        self.plain.publish(hub, topic, body, count)

    def _missed(self, hub: str, topic: str, missed: int) -> None:
        self.plain.missed_here(hub, topic, missed)

    def _followed(self, key: bytes, *, is_followed: bool) -> None:
        name = name_of(*names_of(key))
        if is_followed:
            self.plain.followed(name)
            self._broker.follow(name)
        else:
            self._unheard.pop(name, None)
            self._broker.unfollow(name)

    def _asked(self, hub: str, topic: str) -> asyncio.Future[int]:
        return self.census.ask(hub, topic)

    async def _count(self, hub: str, topic: str) -> int:
        """Return how many listen on this node."""
        return await self.bus.total(key_of(hub, topic), 0, COUNT_SECONDS)

    def _tick(self) -> None:
        self.plain.tick(is_ready=self._state is State.READY)
        self.census.tick(is_ready=self._state is State.READY)
        self.keeper.tick()
        self._ticks += 1
        if self._ticks % UNHEARD_TICKS == 0 and self._state is State.READY:
            for name in list(self._unheard):
                self._broker.follow(name)

    # -- what the broker says -------------------------------------------------------------------

    def deliver(self, name: str, blob: bytes) -> None:
        """Take a blob of a plain topic."""
        if name == CENSUS:
            self.census.take(blob)
        else:
            self._unheard.pop(name, None)
            self.plain.take(name, blob)

    def dropped(self, name: str) -> None:
        """Take that a blob of this node was dropped."""
        self.plain.dropped(name)

    def appended(self, name: str, epoch: str, entries: list[Entry]) -> None:
        """Take what is new in a topic with a history or keys."""
        self.keeper.take_new(name, epoch, entries)

    def refused(self, name: str, reason: str) -> None:
        """Take that a topic is not heard here. What other nodes publish to it does not come: tell it."""
        if name in self.keeper.relayed:
            self.keeper.take_unheard(name)
            return
        if self._unheard.get(name) != reason:
            text = "broker %s: topic %s is not heard, what other nodes publish does not come: %s"
            log.error(text, self._broker.label, name, reason)
        self._unheard[name] = reason
        if name != CENSUS:
            self.bus.skip(*names_in(name), None)

    def state(self, state: State, reason: str = "") -> None:
        """Take how it is with the broker."""
        if state is State.AWAY:
            self._say(f"broker {self._broker.label} is away: {reason}")
        elif self._state is State.AWAY and self._said:
            self._said = ""
            log.info("broker %s is back", self._broker.label)
        self._state = state
        self._measure()
        self.keeper.take_state(state, reason)

    def _measure(self) -> None:
        """Say whether the broker can be reached, where somebody measures; by its kind, not by its address."""
        meters = measuring()
        if meters is not None:
            kind = self._broker.label.partition(":")[0]
            meters.set(int(self._state is State.READY), "broker_up", kind)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            log.error("%s", text)
