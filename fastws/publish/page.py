"""``POST /publish``: a page that publishes what other programs send it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastws import json
from fastws.logs import peer_text
from fastws.protocol.http.messages import Request, Response
from fastws.publish.asgi import ASGIPage
from fastws.publish.items import Item, Refusal, items_of
from fastws.publish.limits import CODES, MAX_BODY_BYTES, PATH
from fastws.publish.offering import check, publish
from fastws.publish.tokens import TokenFile, Tokens
from fastws.pubsub.hub import Hub
from fastws.pubsub.patterns import Pattern
from fastws.server.log_rate_limit import LogRateLimit
from fastws.web.routes import Route

__all__ = ["PublishPage", "publish_page"]

#: So many messages are read in one turn of the loop.
READ_TOGETHER = 64
#: Lines about wrong tokens, in so many seconds.
WRONG_LINES, WRONG_SECONDS = 5, 60.0

Topics = tuple[Pattern, ...]


def publish_page(
    hub: Hub, *, tokens: Mapping[str, str | Iterable[str]] | str | os.PathLike[str] | None
) -> PublishPage:
    """Return a page that takes messages by ``POST`` and publishes them.

    ``page.route("/publish")`` is its :class:`fastws.Route`. In FastAPI and Starlette it is
    ``app.add_route("/publish", page.asgi)``. The page "Publish from a script" says what a request has.

    Args:
        hub: Where the messages are published.
        tokens: A mapping from bearer tokens to the patterns of topics that each may publish to; or the path
            of a file with one token and its patterns on each line, which is read again when it changes.
            None: whoever can reach the page may publish to every topic. There is no default.

    Raises:
        TypeError: ``hub`` is no :class:`fastws.Hub`, or ``tokens`` nothing of this.
        ValueError: A token is shorter than 16 characters, or a pattern is none.
        OSError: The file cannot be read.
    """
    if not isinstance(hub, Hub):
        raise TypeError(f"a page publishes to a fastws.Hub, not {hub!r}")
    known: Tokens | TokenFile | None = None
    if isinstance(tokens, (str, os.PathLike)):
        known = TokenFile(os.fsdecode(tokens))
    elif isinstance(tokens, Mapping):
        known = Tokens(tokens)
    elif tokens is not None:
        raise TypeError(f"tokens= is a mapping, the path of a file, or None, not {type(tokens).__name__}")
    return PublishPage(lambda: hub, known)


class PublishPage:
    """Made by :func:`publish_page`. Call it with a :class:`fastws.Request`: it is what ``http=`` takes.

    Any number of requests may be answered at the same time.
    """

    def __init__(self, find_hub: Callable[[], Hub], tokens: Tokens | TokenFile | None) -> None:
        self._find_hub = find_hub
        self._tokens = tokens
        self._lines = LogRateLimit(WRONG_LINES, WRONG_SECONDS)
        #: The same as an application of ASGI 3, wherever it is mounted.
        self.asgi = ASGIPage(self)

    def route(self, path: str = PATH) -> Route:
        """Return the :class:`fastws.Route` of this page, with the limits that it needs.

        Args:
            path: Where it is (``/publish``).
        """
        # Twice as much, so that what is a little too much is refused with words.
        return Route(path, http=self, methods=["POST"], limits={"max_body_size": 2 * MAX_BODY_BYTES})

    async def __call__(self, request: Request) -> Response:
        """Answer one request. Cancelled, it publishes no more; what was published stays."""
        try:
            topics = self._admit(request)
            hub = self._find_hub()
            items = await _read(hub, request.body, topics)
        except Refusal as refusal:
            error: dict[str, Any] = {"code": refusal.code, "reason": refusal.reason}
            if refusal.index is not None:
                error["index"] = refusal.index
            return _answer(refusal.code, {"error": error, "published": 0})
        outcomes = await publish(hub, items)
        failed = [index for index, outcome in enumerate(outcomes) if "error" in outcome]
        body: dict[str, Any] = {"published": len(items) - len(failed), "items": outcomes}
        if not failed:
            return _answer(None, body)
        first = outcomes[failed[0]]["error"]
        return _answer(first["code"], {"error": {**first, "index": failed[0]}, **body})

    def _admit(self, request: Request) -> Topics | None:
        """Return the topics that a request may publish to, None for all. Raises :class:`Refusal`."""
        if "origin" in request.headers:
            raise Refusal("forbidden", "a request of a browser: pages publish by a feed")
        topics = None if self._tokens is None else self._topics_of(request, self._tokens)
        kinds = request.headers.get_list("content-type")
        if len(kinds) != 1 or not _is_json(kinds[0]):
            raise Refusal("media_type", "Content-Type is application/json")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal("media_type", "a body is not compressed")
        if len(request.body) > MAX_BODY_BYTES:
            raise Refusal("too_large", f"a body has at most {MAX_BODY_BYTES} bytes, not {len(request.body)}")
        return topics

    def _topics_of(self, request: Request, tokens: Tokens | TokenFile) -> Topics:
        fields = request.headers.get_list("authorization")
        scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        token = token.strip(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal("unauthorized", "a bearer token is missing")
        topics = tokens.patterns_of(token)
        if topics is None:
            self._lines.log(logging.WARNING, "%s has no valid token for publishing", peer_text(request.peer))
            raise Refusal("unauthorized", "the token is not valid")
        return topics


async def _read(hub: Hub, body: bytes, topics: Topics | None) -> list[Item]:
    """Return all messages of a body, each of which may be published. Raises :class:`Refusal`."""
    items: list[Item] = []
    allowed: set[str] = set()
    for index, item in enumerate(items_of(body)):
        if item.topic not in allowed:
            if topics is not None and not any(pattern.fits(item.topic) for pattern in topics):
                raise Refusal("forbidden", f"this token may not publish to {item.topic!r}", index)
            allowed.add(item.topic)
        check(hub, item, index)
        items.append(item)
        if index % READ_TOGETHER == READ_TOGETHER - 1:
            await asyncio.sleep(0)  # the others have their turn
    return items


def _is_json(kind: str) -> bool:
    media, _, parameters = kind.partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    return media.strip().lower() == "application/json" and charset in ("", "charset=utf-8")


def _answer(code: str | None, body: dict[str, Any]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    status = 200
    if code is not None:
        status = CODES[code]
        if status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="fastws"'
        elif status == 503:
            headers["Retry-After"] = "1"
    return Response(status, json.dumps(body), headers, "application/json")
