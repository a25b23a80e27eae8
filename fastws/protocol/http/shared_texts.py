"""One object for equal texts of many requests, within a bound."""

from __future__ import annotations

__all__ = ["MAX_SHARED_LENGTH", "MAX_SHARED_TEXTS", "SHARED", "shared"]

#: Texts of targets and paths that requests share, at most so many, of at most so many characters.
SHARED: dict[str, str] = {}
MAX_SHARED_TEXTS = 256
MAX_SHARED_LENGTH = 256


def shared(text: str) -> str:
    """Return one object for equal texts: thousands of clients ask for the same path.

    ``sys.intern`` would keep what strangers send: since Python 3.12 an interned text may stay for ever.
    """
    if len(text) > MAX_SHARED_LENGTH:
        return text
    if len(SHARED) >= MAX_SHARED_TEXTS and text not in SHARED:
        SHARED.clear()
    return SHARED.setdefault(text, text)
