"""How much clients of documents may cost."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fastws.config import check_number

__all__ = ["DocumentLimits"]


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """How much the clients of :class:`fastws.yjs.Documents` may send, and how much they may make it hold.

    A number in a description, such as 4413, is the close code of a client beyond the limit. ``y-websocket``
    does not come back after 4400 to 4499, and does after 4500 to 4599.

    Raises ``TypeError`` for a value that is no integer, ``ValueError`` for one below 1. Immutable.
    """

    #: Bytes of a document as one update; 4413 beyond it. Also of one message, so that a client can bring all
    #: of a document along; 1009 beyond it. In memory a document takes up to 50 times as much, where it is
    #: made of single letters.
    max_document: int = 1024 * 1024
    #: Documents that are open in this process; 4503 beyond it.
    max_open: int = 1_000
    #: Documents that clients of one address (of IPv6 its first 64 bits) have open in this process; 4503
    #: beyond it. Behind a proxy they are of one address where that does not say whose the requests are.
    max_open_by_address: int = 1_000
    #: Clients of one document in this process; 4503 beyond it.
    max_clients: int = 1_000
    #: Bytes of JSON that one client may say about itself; 4400 beyond it.
    max_awareness: int = 4_096
    #: Per cent of one core that one client may take. A client that takes more is read more slowly.
    cpu_percent: int = 25

    def __post_init__(self) -> None:
        for field in fields(self):
            most = 100 if field.name == "cpu_percent" else None
            check_number(field.name, getattr(self, field.name), 1, most)
