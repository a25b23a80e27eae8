"""What a request says of its TLS, without a connection."""

from __future__ import annotations

import asyncio

from fastws.protocol.http.tls import TLS
from fastws.testing import MemoryTransport
from tests.kit import ManualLoop


def test_it_compares_as_the_bool_that_it_was(loop: ManualLoop) -> None:
    transport, other = (MemoryTransport(loop, asyncio.Protocol()) for _ in range(2))
    tls = TLS(transport)
    assert tls == True and tls != False  # noqa: E712
    assert {tls: "yes"}[True] == "yes"
    assert tls == TLS(transport)
    assert tls != TLS(other)
