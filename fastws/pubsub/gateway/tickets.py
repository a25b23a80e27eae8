"""What workers have published and the broker has not answered: workers are told in the order of their
records.
"""

from __future__ import annotations

from collections import deque

from fastws.pubsub.keeper.member import Member

__all__ = ["Ticket", "Tickets"]


class Ticket:
    """One record of a worker."""

    __slots__ = ("answer", "is_done")

    def __init__(self) -> None:
        self.is_done = False
        #: A record for the worker, beside the word that its own was taken.
        self.answer = b""


class Tickets:
    """Those of all workers."""

    def __init__(self) -> None:
        self._open: dict[Member, deque[Ticket]] = {}

    def take(self, member: Member) -> Ticket:
        """Take a record of a worker."""
        ticket = Ticket()
        self._open.setdefault(member, deque()).append(ticket)
        return ticket

    def done(self, member: Member, ticket: Ticket, answer: bytes = b"") -> None:
        """It has been answered: the worker is told when all its records before it have been."""
        ticket.is_done = True
        ticket.answer = answer
        waiting = self._open.get(member)
        while waiting and waiting[0].is_done:
            member.took(waiting.popleft().answer)

    def lost(self, member: Member) -> None:
        """A worker is gone."""
        self._open.pop(member, None)
