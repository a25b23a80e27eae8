"""Publishes the messages of a request, and tells of each what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.json import checked_source
from fastws.publish.items import Item, Refusal
from fastws.pubsub.hub import Hub
from fastws.pubsub.keeper.questions import TooLarge
from fastws.pubsub.keys import KeysFull
from fastws.pubsub.notes import JSON_NOTE
from fastws.server.log_rate_limit import LogRateLimit

__all__ = ["check", "publish"]

log = logging.getLogger("fastws.error")

#: So many messages are published in one turn of the loop, and wait together for their positions.
TOGETHER = 64
UNPUBLISHED = "a message of another program was not published: %s"

_lines = LogRateLimit(5, 60.0)

#: What became of a message: ``at`` and ``duplicate``, or ``error``.
Outcome = dict[str, Any]


def check(hub: Hub, item: Item, index: int) -> None:
    """Raise :class:`Refusal` for a message that is none for its topic."""
    is_keyed = hub._is_keyed(item.topic)
    reason = None
    if is_keyed and item.key is None:
        reason = f"topic {item.topic!r} is keyed: say whose value it is, by a 'key'"
    elif not is_keyed and item.key is not None:
        reason = f"topic {item.topic!r} has no keys"
    elif item.once is not None and not hub._has_positions(item.topic):
        reason = f"'once' is for a topic that keeps messages, which {item.topic!r} does not"
    elif item.key is not None:
        reason = _wrong_value(item)
    if reason is not None:
        raise Refusal("bad_request", reason, index)


def _wrong_value(item: Item) -> str | None:
    """Return why a message is no value of a key."""
    if isinstance(item.message, bytes):
        return "the value of a key is JSON, so there is no 'base64'"
    if isinstance(item.message, str) and item.note != JSON_NOTE:
        try:
            checked_source(item.message)
        except ValueError as error:
            return f"with a 'key' the 'message' is the source text of JSON: {error}"
    return None


async def publish(hub: Hub, items: Sequence[Item]) -> list[Outcome]:
    """Publish all of them in their order; return what became of each."""
    outcomes: list[Outcome] = []
    for start in range(0, len(items), TOGETHER):
        run = items[start : start + TOGETHER]
        # Each begins in the order of its task, so that is the order of a topic.
        outcomes += await asyncio.gather(*(_publish(hub, item) for item in run))
    return outcomes


async def _publish(hub: Hub, item: Item) -> Outcome:
    try:
        done = await hub._publish_noted(item.topic, item.message, item.key, item.note, item.once)
    except (ValueError, TypeError) as error:
        # What the topic itself has to say, such as that its keys are as many as there may be.
        code = "limit" if isinstance(error.__context__, KeysFull) else "bad_request"
        return _error(code, str(error))
    except TooLarge as error:
        _lines.log(logging.ERROR, UNPUBLISHED, error)
        return _error("too_large", "the broker never takes a message of this size: it was not published")
    except BrokerUnavailable as error:
        # Who publishes is not told where the broker is.
        _lines.log(logging.ERROR, UNPUBLISHED, error)
        return _error("unavailable", "the broker takes nothing now: it was not published")
    except TimeoutError:
        return _error("uncertain", "no answer in time: it may have been published")
    except Exception:
        log.exception("a message for topic %r cannot be published", item.topic)
        return _error("internal", "the server failed: it may have been published")
    if done is None:
        return {"at": None, "duplicate": False}
    return {"at": str(done.at), "duplicate": done.duplicate}


def _error(code: str, reason: str) -> Outcome:
    return {"error": {"code": code, "reason": reason}}
