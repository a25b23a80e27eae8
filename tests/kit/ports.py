"""Ports for servers that must be told one."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

#: Below those that Linux gives to clients (32768 to 60999): no client of another test takes one of these
#: between the moment when it is found free and the moment when a server listens on it.
CANDIDATES = range(20_000, 32_000)
#: Not the generator that tests seed: two processes of one run would choose the same ports.
_choose = random.SystemRandom().choice
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens; in one process never the same again."""
    for _ in range(100):
        port = _choose(CANDIDATES)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError("100 ports were tried and all are in use")
