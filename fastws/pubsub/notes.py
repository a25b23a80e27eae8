# cython: annotation_typing=False
"""What a topic keeps of a message beside its frame: that its text is JSON, and who has published it.

A *note* is a frame with a reserved opcode (RFC 6455, section 5.2), in front of the message's own frame. It
goes where the frame goes: into the history of a topic, and to other processes. No client ever sees one. Plain
text that the application publishes has none.
"""

from __future__ import annotations

__all__ = ["JSON_NOTE", "MAX_AUTHOR_BYTES", "NOTE", "author_of", "frame_of", "note_of"]

#: The first byte of a note: a whole message of the reserved opcode 3.
NOTE = 0x83
#: Bytes of an author's name: the size of a note has one byte.
MAX_AUTHOR_BYTES = 125

#: The note of a JSON text of the application.
JSON_NOTE = bytes((NOTE, 0))


def note_of(author: str | None) -> bytes:
    """Return the note of a JSON text, or of a message that ``author`` has published (None: nobody's name)."""
    name = b"" if author is None else author.encode()
    if len(name) > MAX_AUTHOR_BYTES:
        raise ValueError(f"an author has at most {MAX_AUTHOR_BYTES} bytes of UTF-8, not {len(name)}")
    return bytes((NOTE, len(name))) + name


def frame_of(kept: bytes) -> bytes:
    """Return the message's own frame."""
    # The number itself: compiled, a name would be looked up.
    return kept if kept[0] != 0x83 else kept[2 + kept[1] :]


def author_of(kept: bytes) -> bytes | None:
    """Return the author's name in UTF-8, which may be empty; None where the message has no note."""
    return None if kept[0] != 0x83 else kept[2 : 2 + kept[1]]
