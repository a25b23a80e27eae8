"""What goes wrong with a NATS server, and how it is said."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any

import nats.errors

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import BrokerRefused

__all__ = ["NOT_ALLOWED", "LineLost", "NoAnswer", "code_of", "failure_of", "text_of", "text_of_error"]

#: What a server says to a subject that this user may not use. nats-py makes it small letters.
NOT_ALLOWED = re.compile(r"permissions violation for (publish|subscription) to \"([^\"]*)\"")
NO_NATS = "what is there does not speak NATS's protocol"
#: What servers and nats-py say, by how it begins, and what it means.
MEANINGS = {
    "empty response from server": NO_NATS,
    "info message, json parse error": NO_NATS,
    "authorization violation": "wrong user, password, token or credentials (Authorization Violation)",
}
#: Errors of JetStream: of a cluster that elects a leader, or of which too few servers are there; of a stream
#: that is being moved or stopped. What was asked is asked again.
NOT_NOW = frozenset({10004, 10005, 10007, 10008, 10009, 10041, 10096, 10118, 10119})


class LineLost(BrokerUnavailable):
    """The connection has ended, and what was under way may have arrived or not."""


class NoAnswer(BrokerUnavailable):
    """Nobody has answered, over a connection that is there: the stream is missing, or has no leader."""


def text_of(error: BaseException) -> str:
    """Return an error of a connection in words."""
    if isinstance(error, nats.errors.UnexpectedEOF):
        return "the connection was closed"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error}"
    if not isinstance(error, nats.errors.Error | OSError | BrokerUnavailable | UnicodeError):
        return NO_NATS  # nats-py raises much where it reads what is no word of a server
    text = str(error).removeprefix("nats: ").strip("' \r\n")
    for beginning, meaning in MEANINGS.items():
        if text.lower().startswith(beginning):
            return meaning
    return text or type(error).__name__


def code_of(said: Mapping[str, Any]) -> int | None:
    """Return the number of an error of JetStream; None: it is none."""
    return said["error"].get("err_code") if "error" in said else None


def failure_of(said: Mapping[str, Any]) -> BrokerUnavailable:
    """Return what is raised for an error of JetStream."""
    return (NoAnswer if code_of(said) in NOT_NOW else BrokerRefused)(text_of_error(said))


def text_of_error(said: Mapping[str, Any]) -> str:
    """Return an error of JetStream in words."""
    return f"JetStream: {said['error'].get('description', 'it is refused')}"
