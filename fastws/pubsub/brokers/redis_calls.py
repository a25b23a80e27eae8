"""Commands and scripts as Redis reads them, byte by byte. No I/O."""

from __future__ import annotations

from functools import lru_cache

from fastws.pubsub.brokers.redis_scripts import Script

__all__ = ["Call", "pack", "packed"]


class Call:
    """A script, its keys, and the first of what it is told about them: the same each time.

    Args:
        script: The script.
        keys: Its keys.
        fixed: Behind what a connection tells all scripts.
    """

    __slots__ = ("_fixed", "_for", "_packed", "count", "keys", "script")

    def __init__(self, script: Script, keys: tuple[str, ...], *fixed: str | int | bytes) -> None:
        self.script = script
        self.keys = keys
        self._fixed = fixed
        self._for: tuple[str, ...] | None = None
        self._packed = b""
        #: How many arguments :meth:`packed` has.
        self.count = 0

    def packed(self, head: tuple[str, ...]) -> bytes:
        """Return it as Redis reads it, up to what is another each time; ``head`` is what all are told."""
        if head is not self._for:
            arguments = ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *head, *self._fixed)
            self._for, self._packed, self.count = head, pack(*arguments), len(arguments)
        return self._packed


@lru_cache(maxsize=256)
def _bulk(text: str | int) -> bytes:
    """Return an argument as Redis reads it. Most come again with each command of a topic."""
    encoded = str(text).encode()
    return b"$%d\r\n%b\r\n" % (len(encoded), encoded)


def pack(*arguments: str | int | bytes) -> bytes:
    """Return arguments as Redis reads them: redis-py takes several times as long."""
    return b"".join(
        [
            b"$%d\r\n%b\r\n" % (len(each), each) if isinstance(each, bytes) else _bulk(each)
            for each in arguments
        ]
    )


def packed(*arguments: str | int | bytes) -> bytes:
    """Return a command as Redis reads it."""
    return b"*%d\r\n%b" % (len(arguments), pack(*arguments))
