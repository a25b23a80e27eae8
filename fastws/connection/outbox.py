# cython: annotation_typing=False
"""What waits to be written to one connection, and the verdict on what does not fit.

Four places, in the order in which they leave:

- ``_urgent``: PING and PONG that wait for a blocked socket, the newest of each;
- what is sent in this turn (:mod:`fastws.connection.writer`);
- ``_backlog``: messages that wait because the socket is blocked, or because a fragmented one is under way.
  Only this has limits, in both cases: a message that is relayed from a client may never end;
- ``_last``: the CLOSE frame, when it waits.

A client whose socket has refused bytes is *congested*, and *slow* when half of what may wait does
(:mod:`fastws.connection.flow`). A burst in one turn against a socket that still takes bytes makes nobody
either, however large it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.config import Limits, SlowConsumerPolicy
from fastws.connection.congestion import CLEAR, CONGESTED, Congestion
from fastws.connection.flow import OutboxHost, SendStatus
from fastws.connection.publication import Channel, Publication
from fastws.connection.writer import Writer
from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import Opcode

if TYPE_CHECKING:
    from fastws.connection._counters import Counters

__all__ = ["Outbox", "Subscriptions"]


SENT = SendStatus.SENT
QUEUED = SendStatus.QUEUED
DROPPED = SendStatus.DROPPED
CLOSED = SendStatus.CLOSED
PONG = int(Opcode.PONG)
DROP_NEWEST = SlowConsumerPolicy.DROP_NEWEST
DROP_OLDEST = SlowConsumerPolicy.DROP_OLDEST


class Subscriptions:
    """What a connection listens to; see :mod:`fastws.pubsub.fanout`."""

    __slots__ = ("policies",)

    #: Of the channels for which this client has a policy of its own; None where there are none.
    policies: dict[Channel, SlowConsumerPolicy] | None

    def policy_of(self, channel: Channel) -> SlowConsumerPolicy | None:
        """Return what becomes of this client where it is too slow for a channel."""
        return channel.policy if self.policies is None else self.policies.get(channel, channel.policy)

    def take_published(self) -> None:
        """Deliver to the outbox what this turn published for it so far."""
        raise NotImplementedError

    def fall_behind(self, channel: Channel, batch: list[Publication]) -> None:
        """The socket is blocked: send ``batch`` later, from what ``channel`` keeps."""
        raise NotImplementedError

    def writable(self) -> None:
        """The socket takes bytes again, and nothing waits for it."""
        raise NotImplementedError

    def leave(self) -> None:
        """End all of them."""
        raise NotImplementedError


class Outbox(Congestion):
    """The sending half of one connection."""

    __slots__ = (
        "_last",
        "_urgent",
        "dropped",
        "resumed",
        "sent_messages",
        "subscriptions",
    )

    def __init__(self, host: OutboxHost, transport: Any, turn: Turn, fd: int, limits: Limits) -> None:
        Writer.__init__(self, transport, turn, fd)
        self._host = host
        self.limits = limits
        self._backlog = None
        self.flow = CLEAR
        self.fragmenting = False
        self._last: bytes | None = None
        self._urgent: dict[int, bytes] | None = None
        self.frame_variant = 0
        self.subscriptions: Subscriptions | None = None
        self.sent_messages = 0
        self.dropped = 0
        #: Subscriptions that went on where an earlier connection had ended.
        self.resumed = 0
        self.peak_queue = 0

    def count_from_here(self, counters: Counters) -> None:
        """Begin to count what is sent: the handshake's answer may still wait here, and does not count."""
        self.counters = counters
        self.sent_messages = 0
        self.sent_bytes = -self.unwritten()

    # -- what the application sends -------------------------------------------------------------

    def push(self, frame: bytes) -> SendStatus:
        """Take one frame of the application, unless the backlog is over its limits."""
        self._take_published()
        if not self.is_open:
            return CLOSED
        if self.blocked or self.fragmenting:
            if self.is_full(len(frame)):
                self.count_dropped(1)
                return DROPPED
            self._wait(frame, len(frame))
            return QUEUED
        self._count_sent(1)
        self._append_frame(frame)
        return SENT

    def push_over_limits(self, frame: bytes) -> SendStatus:
        """Take one frame of the application, however much waits. Its sender waits afterwards."""
        if self.must_wait() and self.is_open:
            self._wait(frame, len(frame))
            return QUEUED
        return self.push(frame)

    def push_message(self, message: str | bytes | tuple[str | bytes, bytes]) -> SendStatus:
        """Take a message of which no frame is made before; only where :meth:`takes_messages`.

        Its header is written when the turn is, into the same buffer. With a key: where
        :meth:`is_direct`, and it is masked on its way to the socket.
        """
        if self.subscriptions is not None:
            self._take_published()
        if not self.is_open:
            return CLOSED
        self._count_sent(1)
        self._append(message)
        return SENT

    def takes_messages(self) -> bool:
        """True when what is pushed now goes to the socket directly, unmasked and uncompressed."""
        return self.frame_variant == 0 and self.is_direct()

    def is_direct(self) -> bool:
        """True when what is pushed now goes to the socket directly."""
        return self.fd >= 0 and not self.blocked and not self.fragmenting

    def must_wait(self) -> bool:
        """True when a message pushed now waits, or is dropped. Takes what was published before it.

        For a sender that compresses with context takeover. What topics have in the backlog is encoded when it
        leaves, so a frame that is encoded now and leaves after it must not touch the window.
        """
        self._take_published()
        return self.blocked or self.fragmenting

    def push_fragment(self, frame: bytes, *, first: bool, fin: bool) -> None:
        """Take one frame of a fragmented message (RFC 6455, section 5.4); the caller paces them."""
        if first:
            self._take_published()
        self.fragmenting = not fin
        self._append_frame(frame)
        if fin:
            self._count_sent(1)
            if self._backlog is not None and not self.blocked:
                self._drain()
                if not self.blocked:  # else the host is told when the socket has taken it
                    self._host.drained()
            self._tell_subscriptions()

    def push_urgent(self, opcode: int, frame: bytes) -> None:
        """Take a PING or PONG: it overtakes data that waits, and the newest replaces an older one."""
        if not self.is_open:
            return
        if self.blocked:
            if self._urgent is None:
                self._urgent = {}
            elif opcode == PONG and opcode in self._urgent:
                self._become_slow()
            self._urgent[opcode] = frame
        else:
            self._append_frame(frame)

    def push_last(self, frame: bytes, *, discard: bool = False) -> None:
        """Take the CLOSE frame: what was accepted before goes first unless ``discard``."""
        self._take_published()
        if not self.is_open:
            return
        self.is_open = False
        if discard or self.fragmenting:
            # A message cut short cannot be completed; only control frames may follow its fragments.
            self.fragmenting = False
            self.drop_backlog()
            self._urgent = None
        if self.blocked:
            self._last = frame
        else:
            self._append_frame(frame)

    # -- what topics send -----------------------------------------------------------------------

    def is_idle(self) -> bool:
        """True when a broadcast's shared bytes may be written to the socket as they are.

        The transport is asked too: after a reset it closes its descriptor at once, which the next
        accepted connection may get, and tells us of it only in a later turn.
        """
        return (
            self._first is None
            and not self.blocked
            and not self.fragmenting
            and self.is_open
            and self.frame_variant >= 0
            and not self._transport.is_closing()
        )

    def deliver_batch(self, channel: Channel, batch: list[Publication], joined: bytes | None = None) -> None:
        """Take what ``channel`` published in this turn, by its policy where that is too much.

        ``joined`` is the bytes of ``batch`` for this frame variant, where they are known.
        """
        if not self.is_open:
            return
        if self.blocked or self.fragmenting:
            if channel.sequenced:
                assert self.subscriptions is not None
                self.subscriptions.fall_behind(channel, batch)
                return
            for publication in batch:
                self._deliver_blocked(channel, publication)
                if not self.is_open:  # the policy evicted this client
                    return  # type: ignore[unreachable]
        else:
            self._count_sent(len(batch))
            if self.frame_variant >= 0:
                self._append_frame(joined or channel.join(batch, self.frame_variant))
            else:
                for publication in channel.merged(batch):
                    self._append_frame(self._host.encode_publication(publication))

    def takes_joined(self) -> bool:
        """True when :meth:`deliver_joined` may be called: nothing waits for the socket."""
        return self.is_open and not self.blocked and not self.fragmenting and not self._transport.is_closing()

    def deliver_joined(self, channel: Channel, batch: list[Publication], joined: bytes | None) -> None:
        """Write now what ``channel`` had kept for this client; see :meth:`deliver_batch`."""
        began = self.begin_batch()
        self.deliver_batch(channel, batch, joined)
        if began:
            self.corked = False
            self.flush_later()

    def evict(self) -> None:
        """Close this client: it is too slow."""
        self._host.evict("too slow")

    def _deliver_blocked(self, channel: Channel, publication: Publication) -> None:
        size = publication.size
        if self.is_full(size):
            subscriptions = self.subscriptions
            policy = channel.policy if subscriptions is None else subscriptions.policy_of(channel)
            if policy is DROP_NEWEST:
                self.count_dropped(1)
                self.counters.row.dropped_newest += 1
                return
            if policy is not DROP_OLDEST:
                self.evict()
                return
            self._drop_oldest(size)
            if self.is_full(size):
                self.count_dropped(1)
                self.counters.row.dropped_oldest += 1
                return
        self._wait(publication, size)

    def _drop_oldest(self, size: int) -> None:
        backlog = self._backlog
        assert backlog is not None
        before = backlog.size
        dropped = backlog.drop_oldest(self.limits, size)
        self.counters.row.queue_bytes -= before - backlog.size
        self.counters.row.dropped_oldest += dropped
        self.count_dropped(dropped)

    def _count_sent(self, messages: int) -> None:
        self.sent_messages += messages
        self.counters.row.messages_sent += messages

    def count_dropped(self, messages: int) -> None:
        """Count messages that this client is not sent, because it is too slow."""
        self.dropped += messages
        self.counters.row.messages_dropped += messages

    def _take_published(self) -> None:
        """Put what topics published before ahead of what comes now."""
        # Kept in a variable, here and below: it lets go of itself where that evicts this client.
        subscriptions = self.subscriptions
        if subscriptions is not None and self.turn.has_published:
            subscriptions.take_published()

    def leave_topics(self) -> None:
        """Take part in no broadcast any more."""
        subscriptions, self.subscriptions = self.subscriptions, None
        if subscriptions is not None:
            subscriptions.leave()

    # -- what waits -----------------------------------------------------------------------------

    def resume(self) -> None:
        """The socket has taken all that it refused: write what waits until it refuses again."""
        self.blocked = False
        if self._urgent is not None:
            urgent = b"".join(self._urgent.values())
            self._urgent = None
            self._write((urgent,))
        if not self.fragmenting:
            self._drain()
        if not self.blocked:
            self.flow = CLEAR
        elif self._backlog is None:
            self.flow = CONGESTED
        self._tell_subscriptions()
        self._host.drained()

    def _tell_subscriptions(self) -> None:
        """Let those go on that send what topics have kept."""
        subscriptions = self.subscriptions
        if subscriptions is not None and not self.blocked and not self.fragmenting:
            subscriptions.writable()

    def _drain(self) -> None:
        self.flush()  # the end of a fragmented message may be of this turn
        while (backlog := self._backlog) is not None and not self.blocked:
            before, size = len(backlog), backlog.size
            chunk = backlog.next_chunk(self.frame_variant, self._host.encode_publication)
            self.counters.row.queue_bytes -= size - backlog.size
            self._count_sent(before - len(backlog))
            if not backlog:
                self._backlog = None
            self._write((chunk,))
        if self._last is not None and self._backlog is None and not self.blocked:
            last, self._last = self._last, None
            self._write((last,))

    def disown(self) -> None:
        """The connection has ended and is told nothing more."""
        self._host = None

    def discard(self) -> None:
        """Forget everything: the connection is lost."""
        Congestion.discard(self)
        self._urgent = None
        self._last = None
