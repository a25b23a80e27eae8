from collections.abc import Callable

from fastws.protocol.websocket.events import Event

class Reader:
    def __init__(
        self,
        max_message_size: int,
        max_fragments: int,
        max_empty_fragments: int,
        inflate: Callable[[bytes, int], bytes] | None,
        *,
        client: bool,
    ) -> None: ...
    def receive(self, data: bytes | bytearray | memoryview, size: int = ..., /) -> list[Event]: ...
    def get_buffer(self, sizehint: int, /) -> Reader: ...
    def received(self, size: int, /) -> list[Event]: ...
    @property
    def room(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @property
    def pending(self) -> bool: ...

def encode(
    opcode: int,
    payload: str | bytes | bytearray | memoryview,
    mask: bytes | None = None,
    flags: int = 0x80,
) -> bytes: ...
