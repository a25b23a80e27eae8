"""What a publisher sends, and what it makes of the answers. No socket, no clock: both publishers share it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastws import json as json_text
from fastws.config import UNSET, Unset
from fastws.publish.errors import PublishError
from fastws.publish.limits import MAX_BODY_BYTES, MAX_ITEMS
from fastws.pubsub.events import Position, Published

__all__ = ["Batch", "arguments", "batches", "encoded"]

#: What may be tried again, where each message has an id of its own.
PASSING = ("connection", "uncertain", "unavailable")
#: The names of what :meth:`Publisher.publish` takes.
NAMES = ("topic", "message", "json", "key", "remove", "once")

Result = Published | None


def encoded(
    topic: str,
    message: str | bytes | Unset = UNSET,
    json: Any = UNSET,
    key: str | None = None,
    once: str | None = None,
    *,
    remove: bool = False,
) -> bytes:
    """Return one message as the server reads it. Raises ``TypeError`` for what cannot be one."""
    found: dict[str, Any] = {"topic": topic}
    given = [each for each in (message, json) if each is not UNSET]
    if len(given) != (0 if remove else 1):
        if remove:
            raise TypeError("remove= goes without a message")
        raise TypeError("publish a message or json=, not both" if given else "publish a message, or json=")
    if json is not UNSET:
        found["json"] = json
    elif isinstance(message, str):
        found["message"] = message
    elif isinstance(message, (bytes, bytearray, memoryview)):
        found["base64"] = base64.b64encode(message).decode()
    elif not remove:
        raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
    if key is not None:
        found["key"] = key
    if remove:
        found["remove"] = True
    if once is not None:
        found["once"] = once
    return json_text.finite_dumps(found)


def arguments(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of one message of ``publish_many``. Raises ``TypeError``."""
    if not isinstance(item, Mapping):
        raise TypeError(f"publish_many takes mappings of what publish takes, not {type(item).__name__}")
    for name in item:
        if name not in NAMES:
            raise TypeError(f"publish takes {', '.join(NAMES)}, and no {name!r}")
    return dict(item)


class Batch:
    """The messages of one request, until it is known of each what became of it.

    Args:
        first: The number of its first message, among all of the call.
        items: The messages, encoded.
        ids: Whether each message has an id of its own, so that it may be sent twice.
    """

    def __init__(self, first: int, items: Sequence[bytes], ids: Sequence[bool]) -> None:
        self._first = first
        self._items = items
        self._may_repeat = all(ids)
        #: Those that are still to be published.
        self._open = list(range(len(items)))
        self._failures: dict[int, tuple[str, str]] = {}
        self.results: list[Result] = [None] * len(items)

    def body(self) -> bytes:
        """Return the body of the next request."""
        return b"[%b]" % b",".join(self._items[number] for number in self._open)

    def lost(self, code: str, reason: str) -> None:
        """The request has no answer. Raises :class:`PublishError` where it must not be sent again."""
        self._failures = dict.fromkeys(self._open, (code, reason))
        if not self._may_repeat:
            raise self.error(code, reason)

    def answered(self, status: int, body: bytes) -> bool:
        """Take an answer; return True when all is published, False when the rest may be tried again.

        Raises :class:`PublishError`.
        """
        answer = _parsed(status, body)
        items = answer.get("items")
        number: int | None
        if isinstance(items, list) and len(items) == len(self._open):
            self._take(items)
            if not self._open:
                return True
            number = self._open[0]
            code, reason = self._failures[number]
        else:
            code, reason, number = self._refused(status, answer)
        if self._may_repeat and all(failure[0] in PASSING for failure in self._failures.values()):
            return False
        raise self.error(code, reason, number)

    def _take(self, items: list[Any]) -> None:
        """Note what became of each."""
        self._failures = {}
        for number, outcome in zip(self._open, items, strict=True):
            error = outcome.get("error")
            if error is None:
                at = outcome.get("at")
                if at is not None:
                    self.results[number] = Published(Position.parse(at), bool(outcome.get("duplicate")))
            else:
                self._failures[number] = (str(error.get("code")), str(error.get("reason")))
        self._open = list(self._failures)

    def _refused(self, status: int, answer: dict[str, Any]) -> tuple[str, str, int | None]:
        """Note that nothing of the request was published, and why."""
        error = answer.get("error")
        error = error if isinstance(error, dict) else {}
        code, reason = str(error.get("code", "refused")), str(error.get("reason", f"status {status}"))
        self._failures = dict.fromkeys(self._open, ("not_published", "another message was refused"))
        index = error.get("index")
        if isinstance(index, int) and 0 <= index < len(self._open):
            number = self._open[index]
            self._failures[number] = (code, reason)
            return code, reason, number
        self._failures = dict.fromkeys(self._open, (code, reason))
        return code, reason, None

    def error(self, code: str, reason: str, number: int | None = None) -> PublishError:
        """Return the error for what is not published."""
        failed = {self._first + each: failure for each, failure in self._failures.items()}
        return PublishError(code, reason, None if number is None else self._first + number, failed)

    def gave_up(self) -> PublishError:
        """Return the error for what has not been published in time."""
        number = self._open[0]
        code, reason = self._failures[number]
        return self.error(code, reason, number)


def _parsed(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = json_text.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    # Another server, or a limit that counts before the page: 413, 408, 404.
    codes = {401: "unauthorized", 403: "forbidden", 413: "too_large", 429: "unavailable", 503: "unavailable"}
    text = body[:100].decode("utf-8", "replace").strip().splitlines()
    reason = f"the server answered with status {status}" + (f": {text[0]}" if text else "")
    return {"error": {"code": codes.get(status, "refused"), "reason": reason}}


def batches(items: Iterable[Mapping[str, Any]]) -> Iterator[Batch]:
    """Return what is sent, batch by batch.

    Raises ``TypeError`` for what is no message, and :class:`PublishError` for one that is too large, in both
    cases when all before it were given.
    """
    number = 0
    size, waiting, ids = 2, list[bytes](), list[bool]()
    for item in items:
        wrong: Exception | None = None
        data = b""
        try:
            given = arguments(item)
            data = encoded(**given)
        except TypeError as error:
            wrong = TypeError(f"message {number}: {error}")
        if len(data) + 2 > MAX_BODY_BYTES:
            reason = f"a message has {len(data)} bytes, of at most {MAX_BODY_BYTES - 2}"
            wrong = PublishError("too_large", reason, number, {number: ("too_large", reason)})
        if waiting and (wrong or len(waiting) == MAX_ITEMS or size + len(data) + 1 > MAX_BODY_BYTES):
            yield Batch(number - len(waiting), waiting, ids)
            size, waiting, ids = 2, [], []
        if wrong is not None:
            raise wrong
        waiting.append(data)
        ids.append(given.get("once") is not None)
        size += len(data) + 1
        number += 1
    if waiting:
        yield Batch(number - len(waiting), waiting, ids)
