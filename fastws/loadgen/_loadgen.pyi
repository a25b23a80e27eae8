from typing import final

@final
class Generator:
    """N WebSocket clients in one epoll loop.

    ``open``, ``run``, ``attend`` and ``close`` work without the GIL and belong in one thread. ``stop`` and
    everything that only tells something may be called from another one meanwhile.
    """

    def __init__(
        self,
        *,
        scenario: int,
        host: str,
        port: int,
        handshakes: list[tuple[bytes, bytes]],
        frame: bytes,
        clients: int,
        speakers: int,
        depth: int,
        window: int,
        rate: float,
        phase: float,
        size: int,
        stamp_at: int,
        stamp_mask: bytes,
        separator: int,
        deflate: bool,
        speaks: bool,
        tls: bool,
        verify: bool,
        server_name: str,
        base: int,
        limit: float,
        to_others: bool,
    ) -> None:
        """``host`` is numeric. ``handshakes``: request heads with the accept token of each.

        ``frame`` is one message as it goes over the wire; its stamp's digits begin at ``stamp_at`` (-1: it
        has none) and are masked with ``stamp_mask``. ``size`` is that of a message that counts (-1: any),
        ``separator`` the byte between merged ones (-1: none). ``rate`` 0 is a closed loop; else the messages,
        rounds or connections a second of this process, shifted by ``phase`` of one. ``base`` is the moment
        that stamps count from, in ns of CLOCK_MONOTONIC; ``limit`` the seconds of a whole handshake.
        Raises ValueError for values out of range and OSError where libssl or libz is needed and missing.
        """

    def open(self, at_once: int, /) -> int: ...
    def run(self, begin: int, start: int, end: int, drain: float, whole: bool, /) -> None:
        """Send from ``begin`` to ``end``, count from ``start`` to ``end``: ns of CLOCK_MONOTONIC.

        ``whole``: count up to the last answer instead, which may come ``drain`` seconds after the end.
        May be called again after it has returned.
        """

    def attend(self) -> None:
        """Answer pings and notice who was lost, between two runs that are far apart. Does not wait."""

    def close(self, patience: float, /) -> None: ...
    def stop(self) -> None: ...
    def counters(self) -> dict[str, int]: ...
    def marks(
        self,
    ) -> tuple[tuple[dict[str, int], int, int, int], tuple[dict[str, int], int, int, int]]: ...
    def errors(self) -> list[tuple[int, int, int]]: ...
    def note(self) -> str: ...
    def histogram(self) -> bytes: ...
    def interval(self) -> tuple[int, int, int, int]: ...
