"""A folder to serve, and requests for its files."""

from __future__ import annotations

import os
from collections.abc import Callable

from fastws.protocol.http.messages import Response

TEXT = b"0123456789" * 10
LARGE = bytes(range(256)) * 1024
MODIFIED = 1_700_000_000
MODIFIED_DATE = "Tue, 14 Nov 2023 22:13:20 GMT"

__all__ = ["LARGE", "MODIFIED", "MODIFIED_DATE", "TEXT", "Get", "open_descriptors", "read_all"]

Get = Callable[..., Response]


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def read_all(response: Response, n: int = 10_000) -> bytes:
    stream = response.stream
    assert stream is not None
    pieces = []
    while piece := stream.read(n):
        assert len(piece) <= n
        pieces.append(piece)
    stream.close()
    return b"".join(pieces)
