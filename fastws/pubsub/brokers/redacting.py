"""What the log may show of the URL of a broker, and which URLs say plainly what is secret in them."""

from __future__ import annotations

import re

__all__ = ["check_encoded", "redacted"]

#: Parameters that are secrets, and all that are known: what looks like another may be part of a password.
SECRET = r"[^=&#?]*(?:pass|token|secret|creds|seed|key)[^=&#?]*"
KNOWN = (
    r"(?:ssl|socket|sentinel|health_check|client|lib|retry|encoding|decode)_?\w*"
    rf"|db|username|protocol|ca|cert|prefix|replicas|{SECRET}"
)
SECRET_PARAMETER = re.compile(rf"(?<=[?&])({SECRET})=.*?(?=&(?:{KNOWN})=|$)", re.I | re.S)
HOST = r"(?:\[[^\]/?#@]*\]|[^\s/?#@:\[\],]+)(?::\d*)?"
#: A URL that can be read in one way only, and the user in it.
PLAIN = re.compile(
    rf"""(?P<scheme>[a-z][a-z0-9+.-]*://)
    (?:(?P<user>[^/?#@]*@)?{HOST}(?:,{HOST})*(?:/[^?#@]*)?|(?<=unix://)(?P<unix>[^/?#@]*@)?/[^?#]*)
    (?:\?(?:(?:{KNOWN})=[^&]*(?:&(?:{KNOWN})=[^&]*)*)?)?""",
    re.I | re.X,
)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
#: Between two URLs.
COMMA = re.compile(r",(?=\s*[a-z]+://)", re.I)


def redacted(url: str) -> str:
    """Return a URL, or several with commas between them, as the log may show it.

    Where it can be read in several ways, a password may reach to the last ``@``: all up to that is hidden.
    """
    found = [PLAIN.fullmatch(each.strip()) for each in COMMA.split(url)]
    if all(found):
        return ",".join(_without_user(each) for each in found if each is not None)
    hidden, at, shown = url.rpartition("@")
    if not at:
        return _without_parameters(url)
    scheme = SCHEME.match(url)
    if SECRET_PARAMETER.search(hidden):
        shown = ""  # it may be the end of that parameter
    return f"{scheme[0] if scheme else ''}***@{_without_parameters(shown)}"


def check_encoded(url: str) -> None:
    """Raise ``ValueError`` where an ``@`` is behind what ends the host of a URL: a password is cut there."""
    for each in COMMA.split(url):
        _, _, rest = each.partition("://")
        if "@" in re.sub(r"^[^/?#]*", "", rest) and not PLAIN.fullmatch(each.strip()):
            raise ValueError(
                f"{redacted(url)}: what is special in a user or password (/ ? # , and others) "
                "has to be percent-encoded: %2F %3F %23 %2C"
            )


def _without_user(found: re.Match[str]) -> str:
    text, start = found[0], found.end("scheme")
    user = found["user"] or found["unix"] or ""
    return f"{text[:start]}{'***@' if user else ''}{_without_parameters(text[start + len(user) :])}"


def _without_parameters(text: str) -> str:
    return SECRET_PARAMETER.sub(r"\1=***", text)
