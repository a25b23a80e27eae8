"""``--log-config`` and ``--access-log-format``, in this process; and the logs of a server under attack."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path
from typing import Any

import click
import pytest

from fastws.cli import logs
from fastws.cli.access_format import check_access_format
from fastws.cli.errors import CannotStart
from fastws.cli.log_config import configure_by_file, read_log_config
from fastws.cli.serve import serve
from fastws.log_output import JSONFormatter
from tests.cli.helpers import running
from tests.kit.logging_kept import logging_kept

VALUES: dict[str, Any] = {
    "version": 1,
    "formatters": {"json": {"()": "fastws.JSONFormatter", "zone": "utc"}},
    "filters": {"request": {"()": "fastws.RequestIdFilter"}},
    "handlers": {
        "out": {
            "()": "fastws.LineHandler",
            "stream": "ext://sys.stdout",
            "formatter": "json",
            "filters": ["request"],
        }
    },
    "loggers": {"fastws": {"handlers": ["out"], "level": "WARNING"}},
}
INI = """
[loggers]
keys = root, fastws
[handlers]
keys = out
[formatters]
keys = plain
[logger_root]
handlers =
[logger_fastws]
qualname = fastws
level = ERROR
handlers = out
[handler_out]
class = StreamHandler
formatter = plain
args = (sys.stdout,)
[formatter_plain]
format = %(message)s
"""


def yaml_of(values: dict[str, Any]) -> str:
    return json.dumps(values)  # JSON is YAML


TOML = '[loggers.fastws]\nlevel = "CRITICAL"\n'


@pytest.mark.parametrize(
    ("name", "text", "level"),
    [
        ("l.json", json.dumps(VALUES), logging.WARNING),
        ("l.yaml", yaml_of(VALUES), logging.WARNING),
        ("l.toml", f"version = 1\n{TOML}", logging.CRITICAL),
        ("l.ini", INI, logging.ERROR),
    ],
)
def test_logging_is_as_the_file_says(name: str, text: str, level: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    options = serve.make_context("serve", ["--log-config", str(tmp_path / name), "--no-access-log"]).params
    logs.check_log_options(options)
    with logging_kept():
        logs.configure(options)
        assert logging.getLogger("fastws").level == level
        assert logging.getLogger("fastws.access").disabled
        if level == logging.WARNING:
            (handler,) = logging.getLogger("fastws").handlers
            assert isinstance(handler.formatter, JSONFormatter)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("l.json", "{", "Expecting property name"),
        ("l.json", "[]", "it is no table of settings"),
        ("l.yaml", "a: [", "while parsing a flow node"),
        ("l.toml", "a = ", "Invalid value"),
        ("l.ini", "x", "File contains no section headers"),
        ("l.json", "{}", "specify a version"),
        ("l.json", json.dumps({"version": 1, "handlers": {"x": {"class": "no.Such"}}}), "handler 'x': "),
        ("l.ini", "[loggers]\nkeys = root\n", "formatters"),
    ],
)
def test_what_a_file_may_not_say(name: str, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with logging_kept(), pytest.raises(CannotStart, match=f"--log-config .*{name}: .*{why}"):
        configure_by_file(str(tmp_path / name))


def test_yaml_needs_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "l.yml").write_text("a: 1")
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(CannotStart, match=r"needs PyYAML: pip install 'fastws-server\[yaml\]'"):
        read_log_config(str(tmp_path / "l.yml"))


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--log-format", "json", "--access-log-format", "{peer}"], "does not go with --log-format json"),
        (["--log-format", "json", "--log-config", "x"], "--log-format does not go with --log-config"),
        (["--access-log-format", "{"], "--access-log-format: "),
        (["--access-log-format", "{zzz}"], "has no {zzz}; there are time, event"),
        (["--access-log-format", "{status:d}"], "--access-log-format: "),
    ],
)
def test_options_that_cannot_be(args: list[str], why: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        logs.check_log_options(serve.make_context("serve", args).params)
    assert why in raised.value.message


def test_a_format_of_ones_own() -> None:
    check_access_format("{time} {peer:>21} {{braces}} {line}")
    options = serve.make_context("serve", ["--access-log-format", "{time} {event}"]).params
    with logging_kept():
        logs.configure(options, worker=2)
        (handler,) = logging.getLogger("fastws.access").handlers
        assert handler.formatter is not None
        record = logging.LogRecord("fastws.access", logging.INFO, "x", 1, "5 lines", None, None)
        record.created = 0
        assert handler.formatter.format(record).endswith("00.000+00:00 5 lines")


def test_where_the_server_is_stands_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_kept():
        logs.configure(serve.make_context("serve", ["--log-format", "json"]).params)
        logs.say("Serving on x")
        logs.configure(serve.make_context("serve", []).params)
        logs.say("Serving on y")
    first, second = capsys.readouterr().err.splitlines()
    assert json.loads(first)["message"] == "Serving on x"
    assert second == "Serving on y"


ATTACKS = [
    b"GET /%0d%0aFAKE%1b[31m%ff?token=x%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b'GET /"\\{}%s HTTP/1.1\r\nHost: x\r\nUser-Agent: \x80\xff"}\\n{"level":"error"}\r\n\r\n',
    b"GET /\xe2\x80\xa8 HTTP/1.1\r\nHost: x\r\n\r\n",
    b'GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: \x85"}\r\ntraceparent: 0-\xff\r\nReferer: ?token=s\r\n\r\n',
    b"nonsense\n\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://\xff\x00\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    # A WebSocket that closes with a reason of its own.
    b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    b'\x88\x89\0\0\0\0\x0f\xa0\n\xe2\x80\xa8\x1b"\\',
]


@pytest.mark.live
def test_logs_are_json_under_attack(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0, "--log-format", "json", "--log-level", "debug") as server:
        address = json.loads(server.line('{"time"'))["message"].split()[2]
        host, port = address.removeprefix("http://").split(":")
        for attack in ATTACKS:
            with socket.create_connection((host, int(port)), 10) as sock:
                sock.sendall(attack)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
        assert server.stop() == 0
    for text in (server.out.read_bytes(), server.err.read_bytes()):
        lines = text.splitlines()
        assert text.isascii() and lines
        for line in lines:
            assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
        # No line is hidden in another one, for any reader of lines.
        assert len(text.decode().splitlines()) == text.count(b"\n")
    assert b"token=x" not in server.out.read_bytes() and b"token=s" not in server.out.read_bytes()
    assert json.loads(lines_of(server.out)[-1])["reason"] == '\n\u2028\x1b"\\'


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()
