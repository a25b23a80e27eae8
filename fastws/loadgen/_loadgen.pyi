from typing import final

@final
class Generator:
    """N WebSocket clients in one epoll loop.

    ``open``, ``run``, ``answer_pings`` and ``close`` work without the GIL. They raise RuntimeError while
    another of them runs: call them in one thread. Another thread may call all other methods meanwhile.
    """

    def __init__(
        self,
        *,
        scenario: int,
        endpoints: list[tuple[str, int, str]],
        handshakes: list[tuple[bytes, bytes]],
        frame: bytes,
        clients: int,
        senders: int,
        depth: int,
        window: int,
        rate: float,
        phase: float,
        size: int,
        stamp_at: int,
        stamp_mask: bytes,
        separator: int,
        deflate: bool,
        send_once: bool,
        tls: bool,
        verify: bool,
        base: int,
        limit: float,
        to_others: bool,
        nonce_at: int = 0,
        nonce_offset: int = 0,
        nonce_len: int = 0,
    ) -> None:
        """Make the clients. None of them connects yet.

        Args:
            scenario: The index in `enum scenario`.
            endpoints: Numeric addresses, ports, and names in certificates. The clients take them in turn.
            handshakes: Request heads, each with the accept token that its response must carry. The clients
                take them in turn too.
            frame: One message as it goes over the wire.
            senders: How many of the clients send, from the first on.
            depth: Echo: messages that each client has outstanding.
            window: Fan-out: messages outstanding in all.
            rate: Messages, rounds or connections a second of this process. 0 is a closed loop.
            phase: What part of one interval the schedule is shifted by.
            size: Bytes of a message that counts as an answer. -1: any.
            stamp_at: Where the digits of the stamp begin in ``frame``. -1: it has none.
            stamp_mask: What masks these digits, or those of the nonce.
            separator: The byte between merged messages. -1: messages are not merged.
            base: The moment that stamps count from, in ns of CLOCK_MONOTONIC.
            limit: Seconds for TCP, TLS and the upgrade together.
            nonce_at: Echo: where the client's nonce begins in ``frame``.
            nonce_offset: The same in the message. An answer with other bytes there is not the client's own.
            nonce_len: Its digits. 0: messages carry none.

        Raises:
            ValueError: A value is out of range.
            OSError: libssl or libz is needed and missing.
        """

    def open(self, at_once: int, ramp: float = 0.0, /) -> int:
        """Open all clients, at most ``at_once`` at the same time. Return how many are open.

        They begin evenly over ``ramp`` seconds.
        """

    def run(self, *, begin: int, start: int, end: int, drain: float, until_drained: bool) -> None:
        """Send from ``begin`` to ``end``, count from ``start`` to ``end``: ns of CLOCK_MONOTONIC.

        After the end it waits at most ``drain`` seconds for answers. ``until_drained``: count up to the last
        of these answers and not to ``end``. May be called again after it has returned.
        """

    def answer_pings(self) -> None:
        """Answer pings and count lost clients between two runs that are far apart. Does not wait."""

    def close(self, patience: float, /) -> None:
        """Close all clients with 1000. Wait ``patience`` seconds for the server at most."""

    def stop(self) -> None:
        """End ``open`` or ``run`` soon."""

    def counters(self) -> dict[str, int]:
        """The counts so far, and how many clients are open (``alive``)."""

    def snapshots(
        self,
    ) -> tuple[tuple[dict[str, int], int, int, int], tuple[dict[str, int], int, int, int]]:
        """(counts, wall, cpu, waited) at both ends of the measured time.

        All in ns: ``wall`` is CLOCK_MONOTONIC, ``cpu`` what the loop's thread has used, ``waited`` how long
        it could have run and had no core.
        """

    def errors(self) -> list[tuple[int, int, int]]:
        """(kind, detail, count) of each error. errors.py has the words."""

    def note(self) -> str:
        """The first refusal, close or TLS failure, in the server's words."""

    def histogram(self) -> bytes:
        """The counts of an HdrHistogram(1, 3600e9, 3), as unsigned 64-bit numbers."""

    def interval(self) -> tuple[int, int, int, int]:
        """(count, p50, p99, max) since the last call, in ns."""
