def send_one(fd: int, data: bytes, /) -> int:
    """Bytes taken; 0 when the socket takes none now; -errno."""

def send_many(fds: list[int], data: bytes, /) -> list[tuple[int, int]] | None:
    """Send the same bytes to each; (index, bytes taken or -errno) of those that did not take all, or None."""
