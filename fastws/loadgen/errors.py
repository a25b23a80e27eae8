"""The errors of clients in words. The C engine counts kinds and details."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["KINDS", "ErrorCount", "describe_errors"]

#: The order of `enum kind` in `_loadgen.h`, and those that only scripts have.
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
    "foreign",
    "unmet",
    "unsubscribed",
]

#: By the detail of the kind `upgrade`.
UPGRADE_FAILURES = [
    "the answer to the upgrade is not HTTP",
    "the 101 does not say 'Upgrade: websocket'",
    "the 101 does not say 'Connection: Upgrade'",
    "the 101 does not carry the Sec-WebSocket-Accept of its request",
    "the 101 names an extension that was not offered",
    "the head of the answer is longer than 16 KiB",
]

#: By the detail of the kind `foreign`.
FOREIGN_ANSWERS = [
    "an answer was not the client's own message: the server sends to all, which fanout and room measure",
    "more answers came than messages were sent: the server sends to all, which fanout and room measure",
]

HINTS = {
    errno.EADDRNOTAVAIL: "this address has no free port left towards the server: about 28,000 are the most",
    errno.EMFILE: "too few file descriptors: see ulimit -n",
}


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """One error: its kind, a sentence for the user, and how often it happened."""

    kind: str
    text: str
    count: int


def describe_errors(errors: Iterable[tuple[int, int, int]], note: str = "") -> list[ErrorCount]:
    """Return all errors in words, the most frequent first.

    Args:
        errors: (kind, detail, count) of all processes, as the C engine counts them.
        note: The first refusal, close or TLS failure, in the server's words.
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
            return f"could not connect: {errno_text(detail)}"
        case "timeout":
            return "the connection did not open in time"
        case "tls":
            return f"TLS failed: {printable(note)}" if note else "TLS failed"
        case "refused":
            return f"the server refused the upgrade with status {status_text(detail)}"
        case "upgrade":
            return UPGRADE_FAILURES[detail]
        case "closed":
            # The note of a close begins with its code.
            reason = f" ({printable(note[5:])})" if note.startswith(f"{detail} ") else ""
            return f"closed by the server with {detail}{reason}"
        case "eof":
            return "the server ended the connection without a close frame"
        case "socket":
            return f"the connection broke: {errno_text(detail)}"
        case "protocol":
            return f"the server broke the protocol ({detail})"
        case "deflate":
            return "the server did not accept permessage-deflate"
        case "foreign":
            return FOREIGN_ANSWERS[detail]
        case "unmet":
            return f"what line {detail} of the script expects did not come in time"
        case "unsubscribed":
            return f"the feed refused the topic of line {detail} of the script"
    return "nothing came for a second, so the run went on without what was missing"


def printable(text: str) -> str:
    """``text`` with the characters escaped that could control a terminal or change the meaning of a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def errno_text(number: int) -> str:
    return HINTS.get(number, os.strerror(number))


def status_text(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)
