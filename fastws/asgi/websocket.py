"""One WebSocket of an ASGI application, from the request to upgrade to its end.

Until the application accepts, a ``Session`` is the connection's phase. After that the connection calls it
back. A message makes no task and no queue entry beyond the inbox's: it wakes the application's own task,
and what that sends goes to the connection's outbox.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any

from fastws import logs
from fastws.asgi.scope import (
    OURS,
    ClientDisconnected,
    Event,
    is_disconnect,
    scope_of,
    tls_extension,
)
from fastws.connection.websocket import WebSocket
from fastws.errors import ConcurrencyError, ConnectionClosed
from fastws.loop.fatal import is_cancelled, is_collected
from fastws.protocol.http.headers import is_token
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.protocol.http.server import check_final
from fastws.protocol.websocket import handshake
from fastws.server import upgrade

if TYPE_CHECKING:
    from fastws.asgi.mount import Mount
    from fastws.connection.connection import Connection
    from fastws.connection.outbox import Outbox
    from fastws.server.http_phase import ServerPhase
    from fastws.web.routes import Endpoint

__all__ = ["Session"]


class State(Enum):
    """What the application may send next."""

    DECIDING = "websocket.accept, websocket.close or websocket.http.response.start"
    DENYING = "websocket.http.response.body"
    OPEN = "websocket.send or websocket.close"
    CLOSED = "nothing, after sending websocket.close or a whole response"
    GONE = "nothing, for the client is gone"


DECIDING, DENYING, OPEN, CLOSED, GONE = State


class Session:
    """Both sides of one WebSocket: the application's ``receive`` and ``send``, the connection's callbacks."""

    __slots__ = (
        "_connect_received",
        "_connection",
        "_denial",
        "_disconnect",
        "_endpoint",
        "_inbox",
        "_mount",
        "_phase",
        "_request",
        "_state",
        "_waiters",
        "outbox",
        "ws",
    )

    def __init__(
        self, mount: Mount, connection: Connection, phase: ServerPhase, request: Request, endpoint: Endpoint
    ) -> None:
        self._mount = mount
        self._connection = connection
        self._phase: Any = phase
        self._request: Any = request
        self._endpoint: Any = endpoint
        self._state = DECIDING
        self._connect_received = False
        self._denial: Response | None = None
        self._disconnect: Event | None = None
        #: The coroutines that wait in ``receive``, but not in the inbox.
        self._waiters: list[asyncio.Future[None]] = []
        self._inbox: Any = None
        #: Its WebSocket; None until the application has accepted.
        self.ws: Any = None
        #: What a hub writes to; None until the application has accepted.
        self.outbox: Outbox | None = None
        seconds = endpoint.timeouts.handshake
        if seconds is not None:
            connection.set_deadline(connection.loop_state.wheel.time() + seconds)

    # -- the application ------------------------------------------------------------------------

    def scope(self) -> dict[str, Any]:
        request = self._request
        lines = request.headers.get_list("sec-websocket-protocol")
        offered = [value for line in lines for value in line.split(",")]
        return {
            "type": "websocket",
            **scope_of(
                request,
                self._connection.transport,
                self._mount.root_path,
                self._mount.state,
                spec_version="2.4",
            ),
            "subprotocols": [name for value in offered if (name := value.strip(" \t"))],
            "extensions": {
                "websocket.http.response": {},
                OURS: {"session": self},
                **tls_extension(request),
            },
        }

    async def run(self) -> None:
        """Run the application to its end, and close what it leaves open.

        An open WebSocket gets a close code (RFC 6455, section 7.4.1): 1001 where the server cancels the
        application, 1011 where that raises, 1000 where it returns. One that is not accepted gets a status
        (RFC 9110, section 15.6): 503 or 500.
        """
        path = self._request.path
        try:
            await self._mount.app(self.scope(), self.receive, self.send)
        except ClientDisconnected:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            if is_collected(exc):
                raise
            if is_cancelled(exc):
                self._finish(1001, "going away", 503)
                raise
            if self._state is GONE and is_disconnect(exc):
                # Such as Starlette's ``WebSocketDisconnect``, which an application need not catch.
                return
            self._mount.log.exception("the ASGI application failed at %s", logs.escape(path))
            self._finish(1011, "internal error", 500)
        else:
            if self._state is DECIDING or self._state is DENYING:
                where = logs.escape(path)
                self._mount.log.error("the ASGI application returned without an answer at %s", where)
            self._finish(1000, "", 500)

    def _finish(self, code: int, reason: str, status: int) -> None:
        """End with a close code, or with a status where nothing is accepted."""
        if self._state is OPEN:
            self._connection.close(code, reason)
        elif self._state is DECIDING or self._state is DENYING:
            self._refuse(error_response(status))

    async def receive(self) -> Event:
        """ASGI's ``receive``. Cancelling it loses nothing.

        Several coroutines may wait: each message goes to one of them, in their order, the disconnect to all.
        """
        if not self._connect_received:
            self._connect_received = True
            return {"type": "websocket.connect"}
        if self._inbox is None:
            await self._decided()
        if self._inbox is None:
            assert self._disconnect is not None
            return self._disconnect
        while True:
            try:
                message = await self._inbox.get()
                break
            except ConcurrencyError:
                await self._wait_for_wake()
            except ConnectionClosed as closed:
                self._wake()
                return {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}
            except asyncio.CancelledError:
                self._wake()
                raise
        if self._waiters:
            self._wake()
        if type(message) is str:
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    async def _decided(self) -> None:
        """Wait until the WebSocket is open, or never will be."""
        while self._disconnect is None and self._inbox is None:
            await self._wait_for_wake()

    async def _wait_for_wake(self) -> None:
        """Wait until the decision, or until another reader leaves the inbox to the next."""
        waiter = self._connection.loop_state.create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def send(self, event: Event) -> None:
        """ASGI's ``send``: a message waits while the client is slow. Several coroutines may send at a time.

        Raises:
            ClientDisconnected: The client is gone.
            RuntimeError: Another message is due.
            TypeError: The message is neither text nor bytes.
            ValueError: A header, subprotocol or close code cannot be sent.
        """
        kind = event["type"]
        if kind != "websocket.send" or self._state is not OPEN:
            self._control(kind, event)
            return
        data = event.get("bytes")
        if data is None:
            data = event.get("text")
            if not isinstance(data, str):
                raise TypeError(f"text is a str, not {type(data).__name__}")
        elif not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"bytes are bytes, not {type(data).__name__}")
        try:
            await self.ws.send(data)
        except ConnectionClosed as closed:
            raise ClientDisconnected(str(closed)) from None

    def _control(self, kind: str, event: Event) -> None:
        """Take an event that is not a message of an open WebSocket."""
        state = self._state
        if state is GONE:
            if kind != "websocket.close":
                raise ClientDisconnected("the client is gone")
        elif state is DECIDING and kind == "websocket.accept":
            self._accept(event)
        elif state is DECIDING and kind == "websocket.close":
            # The ASGI specification, "Close - send event": closing before accepting is a 403.
            self._refuse(error_response(403))
        elif state is DECIDING and kind == "websocket.http.response.start":
            check_final(event["status"])
            self._denial = Response(event["status"], headers=event.get("headers", ()))
            self._state = DENYING
        elif state is DENYING and kind == "websocket.http.response.body":
            self._deny(event)
        elif state is OPEN and kind == "websocket.close":
            self._close(event)
        else:
            raise RuntimeError(f"ASGI message {kind!r}: what is due now is {state.value}")

    def _accept(self, event: Event) -> None:
        if self._phase.is_closing:
            # The server has told its open WebSockets that it stops; nothing would close this one.
            # 503: RFC 9110, section 15.6.4.
            self._refuse(error_response(503))
            raise ClientDisconnected("the server stops")
        subprotocol = event.get("subprotocol")
        if subprotocol is not None and not is_token(subprotocol):
            raise ValueError(f"{subprotocol!r} cannot be a subprotocol")
        # Check the headers now: once the machine has accepted, no other answer is possible.
        headers = handshake.check_extra_fields(event.get("headers", ()))
        upgrade.accept(
            self._connection,
            self._request,
            self._endpoint,
            callbacks=self,
            subprotocol=subprotocol,
            headers=[*self._mount.extra_headers(), *headers],
        )
        self._mount.websocket_accepted(self._request)

    def _close(self, event: Event) -> None:
        code = event.get("code", 1000)
        reason = event.get("reason") or ""
        # CLOSED only now: close() raises for a code that cannot be sent (RFC 6455, section 7.4).
        self._connection.close(1000 if code is None else code, reason)
        self._state = CLOSED

    def _deny(self, event: Event) -> None:
        assert self._denial is not None
        self._denial.body += event.get("body", b"")
        if not event.get("more_body", False):
            self._refuse(self._denial)

    def _refuse(self, response: Response) -> None:
        self._state = CLOSED
        self._mount.websocket_refused(self._request, response.status)
        response.raw_headers += self._mount.extra_headers()
        phase, self._phase = self._phase, None
        phase.respond(response, close=True)
        self._gone(1006)

    def _gone(self, code: int) -> None:
        """No WebSocket will open: ``receive`` reports ``code``."""
        self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": ""}
        self._phase = None
        self._wake()

    # -- the connection's phase, until the application has decided ------------------------------

    def received(self, data: bytes | memoryview) -> None:
        machine = self._connection.machine
        machine.receive(data)
        if machine.early_bytes > self._endpoint.limits.max_early_size:
            self._connection.hold_input()

    def event(self, event: Any) -> None:
        """No HTTP event comes: what follows a request to upgrade are frames."""

    def eof_received(self) -> bool:
        return False

    def timed_out(self) -> None:
        """Answer 503 (RFC 9110, section 15.6.4): ``timeouts.handshake`` ended without a decision."""
        self._refuse(error_response(503))

    def drained(self) -> None:
        """Nothing is written before the decision."""

    def is_opening(self) -> bool:
        """The application may still accept."""
        return True

    def stop(self) -> bool:
        """The server stops: the application may still answer within ``timeouts.handshake``."""
        return True

    def lost(self, exc: Exception | None) -> None:
        self._state = GONE
        self._gone(1006)

    # -- the connection's callbacks, once it has accepted ---------------------------------------

    def on_open(self, ws: WebSocket) -> None:
        self.ws = ws
        self.outbox = ws.outbox
        self._state = OPEN
        self._inbox = ws.open_inbox()
        self._phase.opened(ws.outbox.counters)
        self._phase = self._endpoint = None
        self._wake()

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self._inbox.put(message)

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        if self._state is OPEN:
            self._state = GONE

    def on_writable(self, ws: WebSocket) -> None:
        """The connection itself wakes a ``send`` that waits."""
