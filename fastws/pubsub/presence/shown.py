"""As what a client is shown to others: a name, and a little beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastws import json
from fastws.pubsub.events import Member
from fastws.pubsub.notes import MAX_AUTHOR_BYTES

__all__ = ["MAX_INFO_BYTES", "NOTHING", "Shown", "info_source", "shown_as"]

#: Bytes of what is shown beside a name, as JSON.
MAX_INFO_BYTES = 1024
#: The JSON of no info.
NOTHING = b"null"


class Shown(NamedTuple):
    """All that others see of a client."""

    id: str
    #: JSON.
    info: bytes = NOTHING


def info_source(info: Any) -> bytes:
    """Return the JSON of what is shown beside a name. Raises ``TypeError`` and ``ValueError``."""
    if info is None:
        return NOTHING
    try:
        source = json.dumps(info)
    except TypeError as error:
        raise TypeError(f"info is a value of JSON: {error}") from None
    if len(source) > MAX_INFO_BYTES:
        raise ValueError(f"info has at most {MAX_INFO_BYTES} bytes as JSON, not {len(source)}")
    # A copy: orjson leaves its bytes in a block of 4 KiB, and these are kept.
    return bytes(memoryview(source))


def shown_as(present: Any) -> Shown:
    """Return what ``present=`` of a subscription means. Raises ``TypeError`` and ``ValueError``."""
    if isinstance(present, str):
        present = Member(present)
    if not isinstance(present, Member) or not isinstance(present.id, str):
        raise TypeError(f"present= is a name or a fastws.Member, not {present!r:.80}")
    if not 1 <= len(present.id.encode()) <= MAX_AUTHOR_BYTES:
        raise ValueError(f"the name that is shown has 1 to {MAX_AUTHOR_BYTES} bytes, not {present.id!r:.160}")
    return Shown(str.__str__(present.id), info_source(present.info))
