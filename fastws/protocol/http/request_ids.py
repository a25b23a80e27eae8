"""What a request is called in logs: by those in front of us who have named it already, else by us."""

from __future__ import annotations

import os
import re

from fastws.protocol.http.headers import Headers

__all__ = ["request_id_of", "trace_id_of"]

#: What others call a request, in X-Request-ID: as much as a UUID or a path in a mesh needs, and nothing that
#: would have to be escaped anywhere.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:/+=@-]{0,127}")
#: Trace Context, section 3.2: version, trace id, parent id, flags; later versions may say more.
TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
MAX_TRACEPARENT = 256


def trace_id_of(headers: Headers) -> str | None:
    """Return the trace id of ``traceparent`` (W3C Trace Context), 32 hexadecimal digits; None without one."""
    values = headers.get_list("traceparent")
    if len(values) != 1 or len(values[0]) > MAX_TRACEPARENT:
        return None
    found = TRACEPARENT.fullmatch(values[0])
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]):
        return None
    # All zeros mean that there is none.
    return found[2] if int(found[2], 16) and int(found[3], 16) else None


def request_id_of(headers: Headers) -> str:
    """Return the name of a request: X-Request-ID where it is one, else the trace id, else a new one."""
    values = headers.get_list("x-request-id")
    if len(values) == 1 and NAME.fullmatch(values[0]):
        return values[0]
    return trace_id_of(headers) or os.urandom(8).hex()
