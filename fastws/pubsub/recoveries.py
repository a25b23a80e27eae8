"""Counts who came back to a topic, where somebody measures."""

from __future__ import annotations

from fastws.meters.meters import measuring
from fastws.pubsub.events import Synced

__all__ = ["recovered"]


def recovered(synced: Synced) -> Synced:
    """Count a client that came with a position, by how that went; return the same."""
    meters = measuring()
    if meters is not None:
        meters.recovered("resumed" if synced.resumed else synced.reason or "unknown")
    return synced
