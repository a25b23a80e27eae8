"""The page as an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastws.protocol.http.messages import Request, Response
from fastws.publish.limits import MAX_BODY_BYTES

__all__ = ["ASGIPage"]


class ASGIPage:
    """An object, for Starlette takes a method for a function of a request."""

    def __init__(self, page: Callable[[Request], Awaitable[Response]]) -> None:
        self._page = page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as ASGI 3 has it, wherever it is mounted."""
        if scope["type"] != "http":
            raise RuntimeError("the page takes messages over HTTP alone")
        body, is_over = bytearray(), False
        while not is_over:
            event = await receive()
            if event["type"] != "http.request":
                return  # half a body: the client has gone
            if len(body) <= MAX_BODY_BYTES:
                body += event.get("body", b"")
            is_over = not event.get("more_body", False)
        request = Request(
            scope["method"],
            headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
            body=bytes(body),
            peer=scope.get("client"),
            upgrade=False,
        )
        is_post = request.method == "POST"
        answer = await self._page(request) if is_post else Response(405, "", {"Allow": "POST"})
        fields = [(name.lower(), value) for name, value in answer.raw_headers]
        fields.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": answer.body})
