"""What a request is called in logs: only by a name that needs no escape anywhere, and is not long."""

from __future__ import annotations

import pytest

from fastws.protocol.http.headers import Headers
from fastws.protocol.http.messages import Request
from fastws.protocol.http.request_ids import request_id_of, trace_id_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (VALID, TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-later-versions-say", TRACE),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (VALID.upper(), None),
        (VALID[:-1], None),
        (f"cc-{TRACE}-{PARENT}-01-{'x' * 300}", None),
        (f"{VALID}\x0b", None),
        ("", None),
    ],
)
def test_the_trace_id(value: str, expected: str | None) -> None:
    assert trace_id_of(Headers([("traceparent", value)])) == expected


def test_two_of_a_field_are_none() -> None:
    assert trace_id_of(Headers([("traceparent", VALID), ("traceparent", VALID)])) is None
    names = Headers([("x-request-id", "a"), ("x-request-id", "b"), ("traceparent", VALID)])
    assert request_id_of(names) == TRACE


@pytest.mark.parametrize("name", ["a", "0", "f" * 128, "019a-4e/x.y_z~:+=@Z", "A1"])
def test_a_name_that_others_gave(name: str) -> None:
    assert request_id_of(Headers([("X-Request-ID", name), ("traceparent", VALID)])) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a b", "a\tb", 'a"', "a\x80", "a\u0660", "f" * 129, "${jndi}", "a\n"]
)
def test_what_is_no_name(name: str) -> None:
    fields = Headers([("X-Request-ID", name.encode("latin-1", "replace").decode("latin-1"))])
    if name.isascii():
        made = request_id_of(fields)
        assert made != name and len(made) == 16 and int(made, 16) >= 0


def test_a_request_keeps_its_name() -> None:
    request = Request(headers=[("traceparent", VALID)])
    assert request.request_id == request.trace_id == TRACE
    new = Request()
    assert new.request_id == new.request_id != Request().request_id
    assert new.trace_id is None and new.user is None
    raw = Request(raw_head=b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: abc\r\n\r\n", upgrade=False)
    assert raw.request_id == "abc"
