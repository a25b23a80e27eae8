#: Sockets that one call reads from.
SLOTS: int

def receive_many(epoll: int, buffer: bytearray | memoryview, /) -> list[int]:
    """Read from sockets of an epoll set that are ready, at most SLOTS, each into its part of the buffer.

    Their descriptors and sizes, in turn: -1 when there was nothing, 0 where the end, an error or urgent
    data is near, and nothing was read.
    """
