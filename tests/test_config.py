"""Settings that fit nothing are told where they are made, by their name."""

from __future__ import annotations

from typing import Any

import pytest

from fastws import Compression, Hub, Limits, Route, Settings, Timeouts, connect, serve
from fastws.web.routes import changed


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: Limits(max_message_size=None), TypeError, "max_message_size is an int, not None"),
        (lambda: Limits(max_message_size="5"), TypeError, "max_message_size is an int, not '5'"),
        (lambda: Limits(receive_queue=True), TypeError, "receive_queue is an int, not True"),
        (lambda: Limits(max_message_size=0), ValueError, "max_message_size is at least 1, not 0"),
        (lambda: Limits(send_queue=-1), ValueError, "send_queue is at least 0, not -1"),
        (lambda: Limits(messages_per_second=-1), ValueError, "messages_per_second is at least 1"),
        (lambda: Timeouts(handshake="5"), TypeError, "handshake is a number of seconds or None, not '5'"),
        (lambda: Timeouts(ping_interval=0), ValueError, "ping_interval is more than 0 .* None switches"),
        (lambda: Timeouts(ping_interval=float("nan")), ValueError, "ping_interval is more than 0"),
        (lambda: Timeouts(close=float("inf")), ValueError, "close is more than 0"),
        (lambda: Compression(level=99), ValueError, "level is from -1 to 9, not 99"),
        (lambda: Compression(mem_level=0), ValueError, "mem_level is from 1 to 9, not 0"),
        (lambda: Compression(threshold=1.5), TypeError, "threshold is an int, not 1.5"),
        (lambda: Settings(limit_concurrency=0), ValueError, "limit_concurrency is at least 1"),
        (lambda: Settings(socket_send_buffer=0), ValueError, "socket_send_buffer is from 1 to 1073741823"),
        (lambda: Settings(notsent_lowat=2**30), ValueError, "notsent_lowat is from 1 to 1073741823"),
        (lambda: Settings(notsent_lowat="16k"), TypeError, "notsent_lowat is an int, not '16k'"),
        (lambda: Settings(compression=True), TypeError, "compression= is a fastws.Compression, or None"),
    ],
)
def test_a_value_that_fits_nothing(make: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()


@pytest.mark.parametrize("given", ["deflate", True, False, {"level": 6}])
def test_compression_is_told_wherever_it_can_be_given(given: Any) -> None:
    async def handler(ws: Any) -> None: ...

    makers: list[Any] = [
        lambda: serve(handler, compression=given),
        lambda: Route("/", handler, compression=given),
        lambda: connect("ws://127.0.0.1/", compression=given),
        lambda: Hub(compression=given or "deflate"),
    ]
    for make in makers:
        with pytest.raises(TypeError, match="compression= is a fastws.Compression, or None"):
            make()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"max_messages_size": 3}, "limits= has no 'max_messages_size'; it has max_message_size, "),
        (5, "limits= is a fastws.Limits or a mapping of its fields, not 5"),
        (Timeouts(), "limits= is a fastws.Limits or"),
    ],
)
def test_a_change_of_no_such_field(change: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        changed(Limits(), change)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ping_interval", "; write timeouts={'ping_interval': ...}"),
        ("max_message_size", "; write limits={'max_message_size': ...}"),
        ("nonsense", ""),
    ],
)
def test_an_option_that_there_is_not(name: str, hint: str) -> None:
    async def handler(ws: Any) -> None: ...

    for function, given in ((serve, handler), (connect, "ws://127.0.0.1/")):
        with pytest.raises(TypeError) as raised:
            function(given, **{name: 5})  # type: ignore[arg-type]
        assert str(raised.value) == f"{function.__name__}() has no {name}={hint}"


def test_none_and_nothing_where_they_mean_something() -> None:
    assert Limits(messages_per_second=None, min_body_rate=0, max_empty_fragments=0).min_body_rate == 0
    assert Timeouts(ping_interval=None, close=1).close == 1
    assert Compression(level=-1, threshold=0).level == -1
