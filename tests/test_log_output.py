"""Lines of logs: one record is one line, whatever is in it, and nothing waits for them."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastws
from fastws.log_output import JSONFormatter, LineHandler, RequestIdFilter, TextFormatter, iso_time
from fastws.logs import current_request, request_var


def record(text: str = "text", *args: object, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("fastws.error", logging.WARNING, "x.py", 1, text, args, None)
    made.created = 1.7e9 + 0.25
    vars(made).update(extra)
    return made


def parsed(made: logging.LogRecord, **options: Any) -> dict[str, Any]:
    line = JSONFormatter(**options).format(made)
    assert line.isascii() and line.isprintable()
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_time_names_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert iso_time(1.7e9 + 0.25, "utc") == "2023-11-14T22:13:20.250Z"
    assert iso_time(1.7e9, "utc", separator=" ", unit="seconds") == "2023-11-14 22:13:20Z"
    local = iso_time(1.7e9)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", local)
    assert datetime.fromisoformat(local).timestamp() == 1.7e9


def test_text_lines() -> None:
    assert TextFormatter(zone="utc").format(record("a %s", 1)) == "2023-11-14 22:13:20Z warning  a 1"
    short = TextFormatter(zone="utc", level=False, label="[2] ")
    assert short.format(record()) == "2023-11-14 22:13:20Z [2] text"
    assert "\x1b[33mwarning " in TextFormatter(colour=True).format(record())


def test_a_json_line_has_what_the_record_has() -> None:
    assert parsed(record("a %s", 1, colour="red", count=3), fields={"worker": 2}) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "fastws.error",
        "message": "a 1",
        "worker": 2,
        "colour": "red",
        "count": 3,
    }


def test_a_traceback_is_a_field() -> None:
    made = record(stack_info="where\nit was")
    try:
        raise ValueError("two\nlines \x1b[31m")
    except ValueError:
        made.exc_info = sys.exc_info()
    found = parsed(made)
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: two\n    lines \\x1b[31m" in found["exception"]
    assert found["stack"] == "where\nit was"
    text = TextFormatter().format(made)
    assert "\x1b" not in text
    made = record()
    made.exc_info = (None, None, None)
    assert "exception" not in parsed(made)
    made.exc_text = None
    assert TextFormatter().format(made)


def test_values_that_json_has_not() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    values = {
        "nan": float("nan"), "inf": float("inf"), "large": 10**5000, "bytes": b"\xff", "none": None,
        "half": "\ud800", "set": {1}, "map": {1: {2: (3,)}}, "cyclic": cyclic,
    }  # fmt: skip
    found = parsed(record(**values))
    assert found["nan"] == "nan" and found["inf"] == "inf"
    assert found["large"].startswith("0x")
    assert found["bytes"] == "b'\\xff'"
    assert found["half"] == "\\ud800"
    assert found["set"] == [1] and found["map"] == {"1": {"2": [3]}}
    assert found["none"] is None


@given(st.text(), st.text())
def test_whatever_the_text_a_line_is_a_line(text: str, name: str) -> None:
    found = parsed(record("%s", text, client={name: text}))
    assert found["message"] == text.encode("utf-8", "backslashreplace").decode()


# -- which request it is about ------------------------------------------------------------------


def test_the_request_of_a_record() -> None:
    request = fastws.Request(
        headers=[("X-Request-ID", "abc"), ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")]
    )
    only = RequestIdFilter()

    def found(made: logging.LogRecord) -> dict[str, Any]:
        assert only.filter(made)
        return {k: v for k, v in parsed(made).items() if k in ("request_id", "trace_id")}

    assert found(record()) == {}
    token = request_var.set(request)
    try:
        assert current_request() is request
        assert found(record()) == {"request_id": "abc", "trace_id": "a" * 32}
    finally:
        request_var.reset(token)
    assert found(record("%r failed", request)) == {"request_id": "abc", "trace_id": "a" * 32}
    assert found(record(websocket=request))["request_id"] == "abc"
    assert found(record(request_id="mine")) == {"request_id": "mine"}
    assert found(record("%(a)s", {"a": 1})) == {}
    made = record()
    only.filter(made)
    assert (made.request_id, made.trace_id) == ("-", "-")  # type: ignore[attr-defined]


# -- where lines go -----------------------------------------------------------------------------


@contextmanager
def written(path: Path, formatter: logging.Formatter) -> Iterator[LineHandler]:
    with path.open("ab", 0) as file:
        handler = LineHandler(io.TextIOWrapper(file, write_through=True))
        handler.setFormatter(formatter)
        yield handler


def test_a_disk_that_is_full_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    """As `ulimit -f` limits a file: the last line that fits is torn, and later ones are whole again."""
    path = tmp_path / "log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with written(path, JSONFormatter()) as handler:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
            for number in range(20):
                handler.emit(record("line %d", number))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handled)
        missed = handler.dropped
        assert 5 < missed < 20
        handler.emit(record("there is room"))
        assert handler.dropped == missed
    *lines, torn, notice, last = path.read_text().splitlines()
    assert [json.loads(line)["message"] for line in lines] == [f"line {n}" for n in range(20 - missed)]
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)
    assert json.loads(notice)["message"] == f"{missed} lines of the log could not be written"
    assert json.loads(last)["message"] == "there is room"


def test_a_pipe_that_nobody_reads_costs_lines_and_nothing_else() -> None:
    source, sink = os.pipe()
    with os.fdopen(source, "rb", 0) as reader, os.fdopen(sink, "w") as stream:
        handler = LineHandler(stream)
        handler.setFormatter(TextFormatter(zone="utc"))
        while not handler.dropped:
            handler.emit(record("x" * 500))
        os.set_blocking(source, False)
        while True:
            try:
                reader.read(1 << 20)
                os.read(source, 1)
            except BlockingIOError:
                break
        handler.emit(record("again"))
        lines = reader.read().decode().splitlines()
    assert lines[-2:] == [
        "2023-11-14 22:13:20Z warning  1 lines of the log could not be written",
        "2023-11-14 22:13:20Z warning  again",
    ]


def test_a_stream_without_a_descriptor_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    handler = LineHandler(stream)
    handler.emit(record("plain"))
    assert stream.getvalue() == "plain\n"

    def fails(text: str) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(stream, "write", fails)
    handler.emit(record("lost"))
    assert handler.dropped == 1
