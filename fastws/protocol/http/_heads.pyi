def read_upgrade(
    data: bytes | bytearray | memoryview,
    size: int,
    max_head_size: int,
    max_line_size: int,
    max_headers: int,
    /,
) -> tuple[bytes, str, str, str, str, str | None, str | None, str | None, bool] | None: ...
