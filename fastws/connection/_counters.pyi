class Counters:
    """What a server has done since it began. Each number moves while sockets are open."""

    #: TCP connections that were accepted.
    connections: int
    http_responses: int
    websockets_opened: int
    websockets_closed: int
    messages_received: int
    messages_sent: int
    #: Messages that were not sent to clients that were too slow.
    messages_dropped: int
    #: Bytes of frames, with their headers and as they are on the wire; of a TLS connection, those within TLS.
    bytes_received: int
    bytes_sent: int
    #: Clients closed with 1008, or cut, because they were too slow.
    evicted: int
    #: Connections and handshakes answered 429, for a limit on what one address may do.
    limited: int
    #: Of the messages dropped, those by the policies of topics; the others are sends without waiting.
    dropped_oldest: int
    dropped_newest: int
    #: Bytes of messages that wait now for clients whose sockets are full.
    queue_bytes: int

    @property
    def row(self) -> Counters:
        """Where the numbers are written. Compiled code adds to them in memory."""

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""

    def share(self, memory: memoryview, /) -> None:
        """Write to this memory from now on, and add to what stands there.

        Raises ``BufferError``, ``TypeError`` and ``ValueError`` for memory that cannot be written or is too
        small.
        """

    def count_closes(self, memory: memoryview, /) -> None:
        """Count closes in this memory from now on. Raises as :meth:`share` does."""

    def server_closed(self, code: int, /) -> bool:
        """Count a WebSocket that we have closed; False where the code has no place, or nobody asks for it."""

    def peer_closed(self, code: int, /) -> bool:
        """Count a WebSocket that its peer has closed, or left; False as of :meth:`server_closed`."""
