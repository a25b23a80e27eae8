def send_many(fds: list[int], data: bytes, /) -> list[tuple[int, int]] | None:
    """Send the same bytes to each; (index, bytes taken or -errno) of those that did not take all, or None."""

def send_items(
    fd: int,
    items: str
    | bytes
    | tuple[bytes]
    | tuple[str | bytes, bytes]
    | list[str | bytes | tuple[bytes] | tuple[str | bytes, bytes]],
    /,
) -> int | tuple[int, int, bytes | memoryview]:
    """Send one item or a list of them in one go.

    Bytes in all if the socket took everything, else a tuple of that, the bytes taken (or -errno), and
    the rest (bytes, or a view of a large message). An ASCII str goes as an unmasked text message, bytes
    as a binary one, the bytes in a tuple of one as they are; in a tuple with a key a message is masked.
    """

def is_item(message: str | bytes, /) -> bool:
    """True for bytes and for a str of ASCII: what send_items() takes as a message."""
