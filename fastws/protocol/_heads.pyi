def read_upgrade(
    data: bytes | bytearray | memoryview,
    size: int,
    max_head_size: int,
    max_line_size: int,
    max_headers: int,
    /,
) -> tuple[int, str, tuple[str, str, str | None, str | None, str | None, bool]] | None: ...
