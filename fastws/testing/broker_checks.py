"""What cases of a broker have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastws.pubsub.brokers.base import TopicKind
from fastws.testing.conformance import BrokerSite, Case, Heard
from fastws.testing.watch import until

__all__ = ["SECONDS", "case_into", "got", "has", "of"]

Run = Callable[[BrokerSite], Awaitable[None]]
#: A broker on another machine needs longer than a turn of the loop.
SECONDS = 10.0


def case_into(cases: list[Case], kind: TopicKind) -> Callable[..., Callable[[Run], Run]]:
    """Return a decorator that adds a function to a list of cases; its arguments are what the case needs."""

    def case(*needs: str) -> Callable[[Run], Run]:
        def add(run: Run) -> Run:
            name = run.__name__.replace("_", " ").strip()
            cases.append(Case(f"{kind}: {name}", kind, run, needs))
            return run

        return add

    return case


async def got(heard: Heard, *messages: str | bytes) -> None:
    """Wait until a client has heard as many messages as these; then they are the same."""
    await until(lambda: len(heard.messages) >= len(messages), f"{len(messages)} messages", timeout=SECONDS)
    assert heard.messages == list(messages)
    assert heard.gaps == []


async def has(heard: Heard, count: int) -> None:
    """Wait until a client has heard so many messages."""
    await until(lambda: len(heard.messages) >= count, f"{count} messages", timeout=SECONDS)


def of(sender: str, heard: Heard) -> list[Any]:
    """Return what a client has heard of one sender."""
    return [text for text in heard.messages if isinstance(text, str) and text.startswith(sender)]
