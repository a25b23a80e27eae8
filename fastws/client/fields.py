"""The header fields of a client's request that come from the arguments of ``connect()``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastws._version import __version__
from fastws.client.credentials import BasicAuth, BearerAuth
from fastws.protocol.http.messages import Response

__all__ = ["USER_AGENT", "request_fields"]

#: What a request says of its sender (RFC 9110, section 10.1.5).
USER_AGENT = f"fastws/{__version__}"

RawFields = list[tuple[bytes, bytes]]


def request_fields(
    headers: Iterable[tuple[str, str]] | Mapping[str, str],
    *,
    auth: BasicAuth | BearerAuth | None,
    origin: str | None,
    user_agent: str | None,
) -> tuple[RawFields, str | None]:
    """Return the fields to send, and the origin, which has a field of its own that a redirect may change.

    Raises ``ValueError`` for a field that cannot be sent, and for one that ``headers`` gives as well as the
    argument for it: none of them may stand twice in a request (RFC 9110, section 5.3).
    """
    fields = Response(headers=headers).raw_headers
    given = {name.lower() for name, _ in fields}
    for name, argument in ((b"authorization", auth), (b"origin", origin)):
        if argument is not None and name in given:
            raise ValueError(f"{name.decode()} is given by headers= and by its own argument")
    origins = [value for name, value in fields if name.lower() == b"origin"]
    if len(origins) == 1:
        origin = origins[0].decode("latin-1")
        fields = [field for field in fields if field[0].lower() != b"origin"]
    if auth is not None:
        fields.append((b"Authorization", auth.authorization.encode("latin-1")))
    if user_agent is not None and b"user-agent" not in given:
        fields += Response(headers=[("User-Agent", user_agent)]).raw_headers
    return fields, origin
