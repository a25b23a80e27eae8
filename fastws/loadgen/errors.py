"""What went wrong with clients, in words. The C engine only counts kinds and details."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["ErrorCount", "in_words"]

#: The order of `enum kind` in `_loadgen.h`.
KINDS = [
    "connect",
    "timeout",
    "tls",
    "refused",
    "upgrade",
    "closed",
    "eof",
    "socket",
    "protocol",
    "deflate",
    "stalled",
]

#: The details of the kind `upgrade`.
NOT_AN_UPGRADE = [
    "the answer to the upgrade is not HTTP",
    "the 101 does not say 'Upgrade: websocket'",
    "the 101 does not say 'Connection: Upgrade'",
    "the 101 does not carry the Sec-WebSocket-Accept of its request",
    "the 101 names an extension that was not offered",
    "the head of the answer is longer than 16 KiB",
]

HINTS = {
    errno.EADDRNOTAVAIL: "this address has no free port left towards the server: about 28,000 are the most",
    errno.EMFILE: "too few file descriptors: see ulimit -n",
}


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """One kind of error, how often it happened, and a sentence for people."""

    kind: str
    text: str
    count: int


def in_words(errors: Iterable[tuple[int, int, int]], note: str = "") -> list[ErrorCount]:
    """Errors as the C engine counts them (of all processes), the most frequent first.

    ``note`` is the first refusal or TLS failure in the server's words.
    """
    counts: Counter[tuple[int, int]] = Counter()
    for kind, detail, count in errors:
        counts[kind, detail] += count
    return [
        ErrorCount(KINDS[kind], sentence(KINDS[kind], detail, note), count)
        for (kind, detail), count in counts.most_common()
    ]


def sentence(kind: str, detail: int, note: str) -> str:
    match kind:
        case "connect":
            return f"could not connect: {system(detail)}"
        case "timeout":
            return "the connection did not open in time"
        case "tls":
            return f"TLS failed: {note}" if note else "TLS failed"
        case "refused":
            return f"the server refused the upgrade with status {status(detail)}"
        case "upgrade":
            return NOT_AN_UPGRADE[detail]
        case "closed":
            return f"closed by the server with {detail}"
        case "eof":
            return "the server ended the connection without a close frame"
        case "socket":
            return f"the connection broke: {system(detail)}"
        case "protocol":
            return f"the server broke the protocol ({detail})"
        case "deflate":
            return "the server did not accept permessage-deflate"
    return "nothing came for a second, and what was missing was given up"


def system(number: int) -> str:
    return HINTS.get(number, os.strerror(number))


def status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)
