"""Who numbers the messages of topics with a history that several processes share, as the bus knows it."""

from __future__ import annotations

import asyncio

__all__ = ["Numbering"]


class Numbering:
    """The way to who numbers messages for all members: here it leads nowhere."""

    #: Whether topics may have a history.
    is_possible = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read and write from now on."""

    def tick(self) -> None:
        """Do what is due once a second."""

    async def wait(self, timeout: float) -> None:
        """Wait until there is somebody. Raises :class:`BrokerUnavailable` after ``timeout`` seconds."""

    async def close(self) -> None:
        """Let what waits leave, and let go."""

    def reset(self, *, forked: bool = False) -> None:
        """Be as before the start."""
