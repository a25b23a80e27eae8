"""The handler that lets stock editors of Yjs share documents."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

from fastws.config import check_arguments
from fastws.connection.websocket import WebSocket
from fastws.errors import FastWSError
from fastws.feed.access import FeedError
from fastws.feed.hooks import ask
from fastws.protocol.http.addresses import address_of
from fastws.pubsub.hub import Hub
from fastws.yjs.client import Budget, Client
from fastws.yjs.content import TooLarge
from fastws.yjs.document import BrokenDocument
from fastws.yjs.limits import DocumentLimits
from fastws.yjs.line import ANSWER, ASK, Line
from fastws.yjs.protocol import read_bytes, write_number
from fastws.yjs.records import MAX_NAME_BYTES
from fastws.yjs.room import Room
from fastws.yjs.stores import Store

__all__ = ["Authorize", "Documents"]

log = logging.getLogger("fastws.error")

Access = bool | Literal["read"]
Authorize = Callable[[Any, str], Access | Awaitable[Access]]

#: Close codes. y-websocket does not come back after the first three.
BAD_MESSAGE, FORBIDDEN, TOO_LARGE, NO_STORE, FULL = 4400, 4403, 4413, 4500, 4503
#: Bytes of a message beside the update that it carries.
MESSAGE_OVERHEAD = 64


class Refused(Exception):
    """A client cannot be served: with which close code, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        #: A close frame has 123 bytes for it (RFC 6455, section 5.5).
        self.reason = reason.encode(errors="replace")[:123].decode(errors="ignore")


class Documents:
    """Documents of Yjs: the handler of a route whose path has a ``{document}``.

    It speaks the protocol of ``y-websocket``, which many editors use. Every process may have a document
    open: their changes travel between them through the hub, and one process, that with the document's lock,
    writes. A document leaves memory when its last client has gone and it is stored.

    A client that breaks the protocol is closed with 4400, one that may not come or write with 4403, one
    whose document would become too large with 4413: after these ``y-websocket`` does not connect again.
    Where the store fails it is closed with 4500, and where there are too many documents or clients, or its
    address has too many documents open, with 4503: then it does.

    Args:
        store: Where documents are kept: a :class:`fastws.yjs.MemoryStore`, a :class:`fastws.yjs.FileStore`,
            or one of your own.
        authorize: Is called with the :class:`fastws.Request` and the document's name. It returns True,
            ``"read"``, or False; it may be ``async def``, and has 10 s. Default None: everybody may write.
        hub: By which processes share: its name has to be the same in all of them. Default None: a hub with
            the name ``"fastws.yjs"``, which workers of one ``fastws serve`` share.
        limits: A :class:`fastws.yjs.DocumentLimits`, or a mapping of the fields to change.

    Raises:
        TypeError: ``store`` is no :class:`fastws.yjs.Store`, ``hub`` no :class:`fastws.Hub`, ``authorize`` no
            function of two arguments, or a limit no integer.
        ValueError: A limit is out of range, or another hub of this process shares under that name.
    """

    def __init__(
        self,
        store: Store,
        *,
        authorize: Authorize | None = None,
        hub: Hub | None = None,
        limits: DocumentLimits | Mapping[str, int] | None = None,
    ) -> None:
        if not isinstance(store, Store):
            raise TypeError(f"store is a fastws.yjs.Store, not {store!r}")
        if hub is not None and not isinstance(hub, Hub):
            raise TypeError(f"hub= is a fastws.Hub, not {hub!r}")
        if authorize is not None:
            check_arguments(authorize, "authorize=", ("request", "document"))
        if limits is not None and not isinstance(limits, DocumentLimits):
            limits = DocumentLimits(**limits)
        self._store = store
        self._authorize = authorize
        self._shared = Hub("fastws.yjs") if hub is None else hub
        self._here = Hub("fastws.yjs.here", broker="memory")
        self._limits = limits or DocumentLimits()
        #: Documents by name, from the beginning of their opening to the end of their close.
        self._open: dict[str, _Open] = {}
        #: How many clients each address has at each document.
        self._addresses: dict[str, Counter[str]] = {}
        #: To all processes: for stores that they do not share.
        self._line: Line | None = None
        self._clock: Callable[[], float] = time.perf_counter

    @property
    def route_limits(self) -> dict[str, int]:
        """What a route has as its limits where it says none itself: a client may bring a whole document."""
        return {"max_message_size": self._limits.max_document + MESSAGE_OVERHEAD}

    @property
    def names(self) -> list[str]:
        """The names of the documents that are open in this process."""
        return list(self._open)

    async def __call__(self, ws: WebSocket) -> None:
        """Serve one client, until it has gone."""
        try:
            await self._serve(ws)
        except Refused as refused:
            ws.close_nowait(refused.code, refused.reason)

    async def _serve(self, ws: WebSocket) -> None:
        request: Any = ws.request
        name = _checked_name(request.path_params.get("document"))
        client = Client(ws, may_write=await self._access(request, name))
        address = address_of(ws.peer)
        self._arrive(address, name)
        try:
            await self._attend(ws, name, client)
        finally:
            self._depart(address, name)

    async def _attend(self, ws: WebSocket, name: str, client: Client) -> None:
        opened = await self._enter(name)
        room = opened.room
        try:
            if len(room.clients) >= self._limits.max_clients:
                raise Refused(FULL, "too many clients of this document")
            room.join(client)
            await self._talk(ws, room, client)
        finally:
            room.leave(client)
            await self._leave(opened)

    def _arrive(self, address: str | None, name: str) -> None:
        """Count a client of an address; None: it has none, as at a Unix socket. Raises ``Refused``."""
        if address is None:
            return
        documents = self._addresses.setdefault(address, Counter())
        if name not in documents and len(documents) >= self._limits.max_open_by_address:
            raise Refused(FULL, "too many documents are open at your address")
        documents[name] += 1

    def _depart(self, address: str | None, name: str) -> None:
        if address is None:
            return
        documents = self._addresses[address]
        documents[name] -= 1
        if not documents[name]:
            del documents[name]
            if not documents:
                del self._addresses[address]

    async def _talk(self, ws: WebSocket, room: Room, client: Client) -> None:
        """Take what a client says. Between two steps others work, and who takes too much time waits."""
        loop = asyncio.get_running_loop()
        budget = Budget(self._limits.cpu_percent, loop.time())
        async for message in ws:
            steps = room.receive(client, message)
            is_done = False
            while not is_done:
                began = self._clock()
                answer = None
                try:
                    answer = next(steps)
                except StopIteration:
                    is_done = True
                except (ValueError, PermissionError, BrokenDocument) as error:
                    raise _refusal(room, error) from None
                pause = budget.spend(self._clock() - began, loop.time())
                if answer is not None:
                    await ws.send(answer)
                if pause or not is_done:
                    await asyncio.sleep(pause)

    async def _access(self, request: Any, name: str) -> bool:
        """Return whether a client may write. Raises ``Refused``."""
        if self._authorize is None:
            return True
        try:
            access = await ask(self._authorize, request, name)
        except FeedError as error:
            raise Refused(FORBIDDEN if error.code == "forbidden" else NO_STORE, error.reason) from None
        if access is not True and access != "read":
            raise Refused(FORBIDDEN, "this document is not for you")
        return access is True

    # -- opening and closing --------------------------------------------------------------------

    async def _enter(self, name: str) -> _Open:
        """Return a document that is open, and stays so until :meth:`_leave`. Raises ``Refused``."""
        while True:
            opened = self._open.get(name)
            if opened is None:
                opened = self._begin_to_open(name)
            elif opened.closing is not None:
                await asyncio.wait([opened.closing])
                continue
            opened.visitors += 1
            try:
                await asyncio.shield(opened.opening)
            except asyncio.CancelledError:
                await self._leave(opened)
                raise
            except FastWSError as error:
                raise _unopened(name, error) from None
            return opened

    def _begin_to_open(self, name: str) -> _Open:
        if len(self._open) >= self._limits.max_open:
            raise Refused(FULL, "too many documents are open")
        try:
            room = Room(name, self._limits, self._here, self._shared, f"\0document/{name}")
        except FastWSError as error:
            raise _unopened(name, error) from None
        self._open[name] = opened = _Open(room)
        opened.opening = asyncio.get_running_loop().create_task(self._begin(opened))
        return opened

    async def _leave(self, opened: _Open) -> None:
        """One visitor has gone; the last one waits until the document is stored."""
        opened.visitors -= 1
        if not opened.visitors and opened.closing is None:
            opened.closing = asyncio.get_running_loop().create_task(self._end(opened))
            await asyncio.shield(opened.closing)

    async def _begin(self, opened: _Open) -> None:
        room = opened.room
        try:
            self._listen()
            assert self._line is not None
            await room.open(self._store)
            if self._store.is_private:
                name = room.name.encode()
                asked = write_number(len(name)) + name
                others = await self._others()
                await room.gather(lambda state: self._ask_all(asked + state), others)
            else:
                await room.gather(lambda state: room.line.say(ASK, state), 0 if room.is_written_here else 1)
        except BaseException:
            del self._open[room.name]
            raise

    async def _end(self, opened: _Open) -> None:
        try:
            await opened.room.close()
        finally:
            del self._open[opened.room.name]

    # -- processes whose stores are private -----------------------------------------------------

    def _listen(self) -> None:
        if self._line is None:
            self._line = Line(self._shared, "\0documents", self)
            if self._store.is_private:
                self._line.open()

    async def _others(self) -> int:
        assert self._line is not None
        try:
            return await self._line.others()
        except TimeoutError:
            return 1

    def _ask_all(self, content: bytes) -> None:
        assert self._line is not None
        self._line.say(ASK, content)

    def heard(self, kind: bytes, content: bytes) -> None:
        """Answer another process that opens a document."""
        asyncio.get_running_loop().create_task(self._answer(content))

    def missed(self) -> None:
        """Who has asked goes on without an answer."""

    async def _answer(self, content: bytes) -> None:
        encoded, at = read_bytes(content, 0)
        name, state = encoded.decode(), content[at:]
        opened = self._open.get(name)
        if opened is not None and opened.closing is None:
            # Not when it is open: the other one may wait for this one's answer, and this one for its.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(opened.room.loaded)
                opened.room.answer(state)
        elif self._store.keeps(name):
            with suppress(Refused):
                opened = await self._enter(name)
                opened.room.answer(state)
                await self._leave(opened)
        else:
            Line(self._shared, f"\0document/{name}", self).say(ANSWER, b"")


class _Open:
    """A document that is open, or about to be."""

    __slots__ = ("closing", "opening", "room", "visitors")

    opening: asyncio.Task[None]

    def __init__(self, room: Room) -> None:
        self.room = room
        #: Clients that are here, or wait for it.
        self.visitors = 0
        self.closing: asyncio.Task[None] | None = None


def _refusal(room: Room, error: Exception) -> Refused:
    """Return how a client is closed that has sent what cannot be."""
    if isinstance(error, BrokenDocument):
        log.error("document %r: %s", room.name, error)
        room.fail()
        return Refused(NO_STORE, "the document is read anew")
    if isinstance(error, PermissionError):
        return Refused(FORBIDDEN, str(error))
    return Refused(TOO_LARGE if isinstance(error, TooLarge) else BAD_MESSAGE, str(error))


def _unopened(name: str, error: FastWSError) -> Refused:
    log.error("document %r cannot be opened: %s", name, error)
    return Refused(NO_STORE, "the document cannot be opened")


def _checked_name(name: str | None) -> str:
    """Return the name of a document. Raises ``Refused``."""
    if name is None:
        log.error("fastws.yjs.Documents needs a route with {document} in its path")
        raise Refused(NO_STORE, "no document")
    if not 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES or not name.isprintable():
        raise Refused(BAD_MESSAGE, f"a document's name has 1 to {MAX_NAME_BYTES} bytes, all printable")
    return name
