"""Sec-WebSocket-Extensions: a parser in linear time, and the negotiation of permessage-deflate."""

from __future__ import annotations

import re

from fastws.config import Compression
from fastws.errors import HandshakeError
from fastws.protocol.websocket.deflate import DeflateParams

__all__ = ["Extension", "check_deflate", "deflate_offer", "negotiate", "parse_extensions"]

#: The name of an extension and its parameters in order; None is the value of a parameter without one.
Extension = tuple[str, list[tuple[str, str | None]]]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# All quantifiers are possessive, so nothing is tried a second time and the time is linear.
_NAME = re.compile(rf"[ \t]*+({_TOKEN})[ \t]*+")
_PARAMETER = re.compile(rf';[ \t]*+({_TOKEN})[ \t]*+(?:=[ \t]*+(?:({_TOKEN})|"((?:[^"\\]|\\.)*+)")[ \t]*+)?+')
_COMMAS = re.compile(r"[ \t,]*+")
_QUOTED_PAIR = re.compile(r"\\(.)")
# RFC 7692, section 7.1.2: 8 to 15, no leading zero.
_WINDOW_BITS = re.compile(r"[89]|1[0-5]")

_NAME_OF_DEFLATE = "permessage-deflate"


def parse_extensions(values: list[str]) -> list[Extension]:
    """Parse the values of all fields of that name (RFC 6455, section 9.1).

    Raises ``ValueError`` for bad syntax.
    """
    text = ",".join(values)
    extensions: list[Extension] = []
    pos = _skip(text, 0)
    while pos < len(text):
        name = _NAME.match(text, pos)
        if name is None:
            raise ValueError("an extension without a name")
        pos = name.end()
        parameters: list[tuple[str, str | None]] = []
        while parameter := _PARAMETER.match(text, pos):
            parameters.append((parameter[1], _value(parameter)))
            pos = parameter.end()
        extensions.append((name[1], parameters))
        if pos < len(text) and text[pos] != ",":
            raise ValueError("neither a parameter nor the next extension")
        pos = _skip(text, pos)
    return extensions


def _skip(text: str, pos: int) -> int:
    """Return the position behind separators; empty members do not count (RFC 9110, section 5.6.1)."""
    match = _COMMAS.match(text, pos)
    assert match is not None
    return match.end()


def _value(parameter: re.Match[str]) -> str | None:
    quoted: str | None = parameter[3]
    return parameter[2] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)


def _collect(parameters: list[tuple[str, str | None]], *, offer: bool) -> dict[str, int] | None:
    """Return the parameters of one permessage-deflate; None when one is invalid, repeated or unknown.

    A flag has the value 1. ``client_max_window_bits`` without a value, which an offer may have, is 15
    (RFC 7692, section 7.1.2.2). None as well where this side, the server of an offer and the client of an
    answer, would have to compress with a window of 8 bits: zlib cannot. It can inflate what the peer has
    compressed so.
    """
    ours = "server_max_window_bits" if offer else "client_max_window_bits"
    found: dict[str, int] = {}
    for name, value in parameters:
        if name in found:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover") and value is None:
            found[name] = 1
        elif name == "client_max_window_bits" and value is None and offer:
            found[name] = 15
        elif (
            name in ("server_max_window_bits", "client_max_window_bits")
            and value is not None
            and _WINDOW_BITS.fullmatch(value)
            and not (value == "8" and name == ours)
        ):
            found[name] = int(value)
        else:
            return None
    return found


def negotiate(values: list[str], compression: Compression) -> tuple[DeflateParams, bytes] | None:
    """Accept the first acceptable offer of permessage-deflate (RFC 7692, section 5.1).

    Returns the agreed parameters and the value of the field in the 101. None declines all offers, which is
    no error; a field that does not parse is declined as a whole.
    """
    try:
        offers = parse_extensions(values)
    except ValueError:
        return None
    for name, parameters in offers:
        if name == _NAME_OF_DEFLATE and (offer := _collect(parameters, offer=True)) is not None:
            return _accept(offer, compression)
    return None


def _accept(offer: dict[str, int], compression: Compression) -> tuple[DeflateParams, bytes]:
    fresh = not compression.context_takeover
    params = DeflateParams(
        server_no_context_takeover=fresh or "server_no_context_takeover" in offer,
        # Without takeover no window of the client's messages stays in our memory.
        client_no_context_takeover=fresh or "client_no_context_takeover" in offer,
        server_max_window_bits=offer.get("server_max_window_bits", 15),
    )
    answer = _NAME_OF_DEFLATE
    if params.server_no_context_takeover:
        answer += "; server_no_context_takeover"
    if params.client_no_context_takeover:
        answer += "; client_no_context_takeover"
    if "server_max_window_bits" in offer:
        answer += f"; server_max_window_bits={params.server_max_window_bits}"
    return params, answer.encode()


def deflate_offer(compression: Compression) -> bytes:
    """Return a client's offer. The server may choose the client's window (RFC 7692, section 7.1.2.2)."""
    offer = _NAME_OF_DEFLATE
    if not compression.context_takeover:
        offer += "; server_no_context_takeover; client_no_context_takeover"
    return (offer + "; client_max_window_bits").encode()


def check_deflate(values: list[str], compression: Compression | None) -> DeflateParams | None:
    """Return what the server accepted of our offer, None for nothing.

    Raises ``HandshakeError`` for what was not offered (RFC 6455, section 4.1; RFC 7692, section 5.1).
    """
    try:
        accepted = parse_extensions(values)
    except ValueError as error:
        raise HandshakeError(f"the server's Sec-WebSocket-Extensions do not parse: {error}") from None
    if not accepted:
        return None
    if compression is None or [name for name, _ in accepted] != [_NAME_OF_DEFLATE]:
        raise HandshakeError("the server accepted an extension that was not offered")
    found = _collect(accepted[0][1], offer=False)
    if found is None:
        raise HandshakeError("the server accepted permessage-deflate with parameters that are not valid")
    fresh = not compression.context_takeover
    return DeflateParams(
        # RFC 7692, section 7.1.1.1: a server that accepts this parameter repeats it. Some, such as tornado,
        # accept the offer without. Their messages can be read, but a window for them is kept.
        server_no_context_takeover="server_no_context_takeover" in found,
        # RFC 7692, section 7.1.1.2: our offer binds this side, even where the server does not repeat it.
        client_no_context_takeover=fresh or "client_no_context_takeover" in found,
        server_max_window_bits=found.get("server_max_window_bits", 15),
        client_max_window_bits=found.get("client_max_window_bits", 15),
    )
