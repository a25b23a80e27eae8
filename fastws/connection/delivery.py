# cython: annotation_typing=False
"""From the bytes of one read to the handler: the one place that reads the machine of an open WebSocket."""

from __future__ import annotations

from typing import Any

from fastws.connection.closing import Closing
from fastws.connection.pausing import PAUSE_TURN
from fastws.loop.fatal import end_loop
from fastws.protocol.websocket.events import Close, Fail, Fragment, More, Ping, Pong
from fastws.protocol.websocket.frames import Opcode
from fastws.protocol.websocket.states import OPEN

__all__ = ["Delivery"]

PONG = int(Opcode.PONG)

#: Events of one connection that one turn of the loop delivers before other connections have theirs.
EVENTS_PER_TURN = 1024


class Delivery(Closing):
    """The part that takes bytes and calls the handler."""

    __slots__ = ("on_message",)

    def _init_delivery(self) -> None:
        #: The handler's callback, a field of its own because each message needs it.
        self.on_message: Any = None

    def ingest(self, data: bytes | memoryview | None, size: int) -> None:
        """Take ``size`` bytes: of ``data``, or (None) read into the machine's own buffer. The one way in.

        Their events go to the handler, or wait behind what is held back while reading is paused.
        """
        machine = self.machine
        self.received_bytes += size
        self.outbox.counters.row.bytes_received += size
        events = machine.received(size) if data is None else machine.receive(data, size)
        if self._held_events is not None:
            self._held_events.extend(events)
        elif events:
            if self._pause_reasons:
                self._held_events = events
            else:
                self.deliver(events)

    def deliver(self, events: list[Any]) -> None:
        """Hand the events of one read to the handler, and its answers to the turn, for one write."""
        outbox = self.outbox
        ws = self.ws
        machine = self.machine
        on_message = self.on_message
        began = outbox.begin_batch()
        most = EVENTS_PER_TURN  # an integer of C where this is compiled, as the index is
        try:
            for index, event in enumerate(events):
                if self._pause_reasons or index == most:
                    self._hold_back(events[index:])
                    break
                if type(event) is not str and type(event) is not bytes:
                    self._control(event)
                elif machine.state is OPEN:
                    self.received_messages += 1
                    outbox.counters.row.messages_received += 1
                    try:
                        on_message(ws, event)
                    except (KeyboardInterrupt, SystemExit) as exc:
                        end_loop(exc)
                        self.abort()
                        break
                    except BaseException:
                        self._handler_failed("on_message")
        finally:
            if began:
                outbox.answer()

    def redeliver(self, events: list[Any]) -> None:
        """Deliver messages which :meth:`deliver` had given to another callback, before what is held back."""
        for event in events:
            if type(event) is not Fragment or event.final:
                self.received_messages -= 1  # counted again in a moment
        if not self._pause_reasons:
            self.deliver(events)
        else:
            self._held_events = events + (self._held_events or [])
            self.resume_inbox()

    def _hold_back(self, events: list[Any]) -> None:
        self._held_events = events
        if not self._pause_reasons:
            self._pause_for_turn()

    def _control(self, event: Any) -> None:
        """Do what the protocol owes for an event that is no whole message, and note the end."""
        kind = type(event)
        if kind is Ping:
            frame = self.machine.answer(event)
            if frame is not None:
                self.outbox.push_urgent(PONG, frame)
        elif kind is Pong:
            self._pong_received(event.payload)
        elif kind is Close or kind is Fail:
            self._peer_ended(event)
        elif kind is Fragment:
            self._deliver_fragment(event)
        elif kind is More:
            self.pause(PAUSE_TURN)
            self.loop_state.call_soon(self._ingest_more)

    def _deliver_fragment(self, fragment: Fragment) -> None:
        """Hand over a part of a message, where the handler takes parts."""
        if self.machine.state is not OPEN:
            return
        if fragment.final:
            self.received_messages += 1
            self.outbox.counters.row.messages_received += 1
        try:
            self.on_message(self.ws, fragment)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
            self.abort()
        except BaseException:
            self._handler_failed("on_message")

    def _ingest_more(self) -> None:
        """Take the events that the machine's reader has left, once those before them have been taken."""
        if self.ws is None:  # the connection was lost meanwhile
            return
        # Paused again if something has resumed it before: what comes now belongs behind what was held back.
        self.pause(PAUSE_TURN)
        if self.machine.state is OPEN:
            self.ws.pause_until_taken()
        if self._held_events is not None:
            self._held_events.append(More())
        elif self._pause_reasons != PAUSE_TURN:
            self._held_events = [More()]
        else:
            self.ingest(b"", 0)
        self.resume(PAUSE_TURN)
