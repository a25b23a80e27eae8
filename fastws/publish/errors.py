"""What goes wrong when messages are published from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from fastws.errors import FastWSError

__all__ = ["PublishError"]


class PublishError(FastWSError):
    """Messages were not published, or nobody knows whether they were.

    Args:
        code: What programs read: ``"connection"`` (the server cannot be reached), ``"unauthorized"``,
            ``"forbidden"``, ``"bad_request"``, ``"limit"``, ``"too_large"``, ``"unavailable"`` (try again
            later), ``"uncertain"`` (it may have been published), or another one of the server.
        reason: What people read.
        index: Which message it is about, counted from 0. Default None: no single one.
        failed: By their numbers, the messages of which it is not known that they were published, each with a
            code and a reason; ``"not_sent"`` of those that nobody was told of. All others were published.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        index: int | None = None,
        failed: Mapping[int, tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(code, reason, index)
        self.code = code
        self.reason = reason
        self.index = index
        self.failed = dict(failed or {})

    def __str__(self) -> str:
        place = "" if self.index is None else f" (message {self.index})"
        return f"{self.code}: {self.reason}{place}"
