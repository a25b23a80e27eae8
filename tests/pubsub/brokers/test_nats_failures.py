"""What goes wrong with a NATS server, in words."""

from __future__ import annotations

import ssl

import pytest

pytest.importorskip("nats")

import nats.errors

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.nats.failures import NO_NATS, NOT_ALLOWED, text_of


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (nats.errors.UnexpectedEOF(), "the connection was closed"),
        (nats.errors.Error("nats: 'Authorization Violation'"), "wrong user, password, token or credentials"),
        (nats.errors.Error("nats: empty response from server when expecting INFO message"), NO_NATS),
        (nats.errors.Error("nats: maximum connections exceeded"), "maximum connections exceeded"),
        (ConnectionRefusedError(111, "Connection refused"), "[Errno 111] Connection refused"),
        (ssl.SSLError("what"), "TLS: "),
        (BrokerUnavailable("no answer within 2 s"), "no answer within 2 s"),
        (UnicodeError("label empty or too long"), "label empty"),
        (TypeError("list indices must be integers"), NO_NATS),
        (OSError(), "OSError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_in_words(error: Exception, text: str) -> None:
    assert text_of(error).startswith(text)


def test_a_subject_that_may_not_be_used_keeps_its_quotes() -> None:
    error = nats.errors.Error('nats: permissions violation for publish to "fastws.p.default/p"')
    found = NOT_ALLOWED.fullmatch(text_of(error))
    assert found is not None and found.groups() == ("publish", "fastws.p.default/p")
