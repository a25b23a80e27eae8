"""What a type checker says about the modules in C, from their stubs; nothing here is run.

The compiled modules of the hot path have no stubs: their sources in Python lie beside them.
"""

from __future__ import annotations

from typing import assert_type

from fastws.loop import _send as _fanout
from fastws.protocol.websocket import _frames

assert_type(_fanout.send_many([1], b"data"), list[tuple[int, int]] | None)
_fanout.send_many("1", b"data")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
_fanout.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
_frames.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
