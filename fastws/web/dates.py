"""Dates as HTTP writes and reads them (RFC 9110, section 5.6.7).

``email.utils`` takes 6 ms to import, a tenth of the import of this whole package. So it is imported when it
is first needed: when a server begins to listen.
"""

from __future__ import annotations

__all__ = ["http_date", "seconds_of"]


def http_date(seconds: float) -> str:
    """Return a time since 1970 as HTTP writes it."""
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)


def seconds_of(date: str) -> float | None:
    """Return a date in any of the three formats as seconds since 1970; None for what is no date."""
    from email.utils import mktime_tz, parsedate_tz

    try:
        # The longest format has 33 characters. The parser was not made for what strangers send.
        parsed = parsedate_tz(date) if len(date) <= 40 else None
        return None if parsed is None else mktime_tz(parsed)
    except (ValueError, IndexError, OverflowError):
        return None
