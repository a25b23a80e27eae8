"""What one request to publish may have, and what is said of one that has more. Both ends know it."""

from __future__ import annotations

__all__ = ["CODES", "MAX_BODY_BYTES", "MAX_ITEMS", "PATH"]

#: Where the page is, unless the application has another place for it.
PATH = "/publish"
#: Bytes of the body of one request.
MAX_BODY_BYTES = 2**20
#: Messages in it.
MAX_ITEMS = 1000
#: The status of each refusal (RFC 9110, section 15). Those of 503 may be tried again.
CODES = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "limit": 409,
    "too_large": 413,
    "media_type": 415,
    "internal": 500,
    "unavailable": 503,
    "uncertain": 503,
}
