"""Hubs of several processes of one machine share what is published."""

from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.registry import install

__all__ = ["Bus", "install"]
