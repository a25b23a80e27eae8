"""A NATS server of our own, with a store of its own."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.kit.programs import Program, need

__all__ = ["Nats", "need_nats"]


def need_nats() -> None:
    """Skip where there is no nats-server; with TESTS_REQUIRE_NATS=1, as CI has it, fail."""
    need("nats-server", "TESTS_REQUIRE_NATS")


class Nats(Program):
    """One server. It keeps its store over restarts.

    Args:
        folder: Where its store and its log go.
        options: As on its command line.
        streams: Whether it has JetStream.
    """

    def __init__(self, folder: Path, *options: str, streams: bool = True) -> None:
        super().__init__(folder)
        self.store = folder / "store"
        self.options = (*options, *(("-js", "-sd", str(self.store)) if streams else ()))

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), *self.options]

    def is_up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def lose(self) -> None:
        """Delete what it keeps; it has been stopped."""
        shutil.rmtree(self.store, ignore_errors=True)
