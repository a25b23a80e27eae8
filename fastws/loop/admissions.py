# cython: annotation_typing=False
"""How many WebSockets one turn of the loop opens: a storm does not hold up those that are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["TURN_HANDSHAKES", "Admission", "Admissions"]

#: Handshakes in one turn behind which further ones wait for the next. They take a few milliseconds with what
#: they begin: the hooks of the application, a snapshot, the messages that a client has missed. A number and
#: no time: where other processes have the processor, a time would pass with nobody admitted.
TURN_HANDSHAKES = 16
#: The loop is asked for its next turn at so many: a call for each handshake would make one 4 % dearer. Up to
#: there those of several turns count together.
COUNTED_TOGETHER = 8


class Admission:
    """One handshake that waits for its turn."""

    __slots__ = ("_admit",)

    def __init__(self, admit: Callable[[], object]) -> None:
        self._admit: Callable[[], object] | None = admit

    def give_up(self) -> None:
        """The client has gone, or waited too long."""
        self._admit = None

    def is_wanted(self) -> bool:
        """False after :meth:`give_up`."""
        return self._admit is not None

    def admit(self) -> None:
        """It is its turn."""
        admit, self._admit = self._admit, None
        if admit is not None:
            admit()


class Admissions:
    """One for each event loop; everything here runs on that loop.

    A storm of clients that come back is served in the order in which they came, some in each turn. What else
    the loop has to do, as reading from those that are connected, happens in between.

    Args:
        call_soon: That of the loop.
    """

    __slots__ = ("_admitted", "_call_soon", "_waiting")

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        #: From ``COUNTED_TOGETHER`` on ``_next_turn`` will be called.
        self._admitted = 0
        self._waiting: deque[Admission] = deque()

    def take(self) -> bool:
        """Admit a handshake now, and count it; False when it has to :meth:`wait`."""
        most, together = TURN_HANDSHAKES, COUNTED_TOGETHER  # integers of C where this is compiled
        if self._admitted >= most or self._waiting:
            return False
        self._admitted += 1
        if self._admitted == together:
            self._call_soon(self._next_turn)
        return True

    def wait(self, admit: Callable[[], object]) -> Admission:
        """Call ``admit`` in a later turn, behind those that wait already."""
        admission = Admission(admit)
        self._waiting.append(admission)
        return admission

    def _next_turn(self) -> None:
        self._admitted = 0
        waiting = self._waiting
        if waiting:
            self._call_soon(self._next_turn)
            while waiting and self._admitted < TURN_HANDSHAKES:
                admission = waiting.popleft()
                if admission.is_wanted():
                    self._admitted += 1
                    admission.admit()
            self._admitted = max(self._admitted, COUNTED_TOGETHER)
