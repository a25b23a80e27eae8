"""``fastws check``: what is in force and from where, and what does not work."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import tomllib
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from fastws.cli.check import toml
from fastws.cli.main import main
from fastws.pubsub.bus import registry
from fastws.pubsub.overrides import overrides
from tests.kit.logging_kept import logging_kept
from tests.kit.ports import free_port

APP = """
import fastws

hub = fastws.Hub("of-the-check")
hub.topic("quotes/*", mode="keyed", max_keys=10)
hub.topic("news", history=100)
hub.topic("plain", max_rate=5)

async def echo(ws):
    async for message in ws:
        await ws.send(message)

routes = [fastws.Route("/ws", echo, limits={"max_fragments": 9}), fastws.Static("/files", ".")]

async def make():
    return routes
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with an application that is imported anew."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("FASTWS_") and name not in ("FASTWS_COMPILED", "FASTWS_ENGINE"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(registry, "_groups", {})  # brokers of other tests' hubs
    (tmp_path / "checked_app.py").write_text(APP)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "checked_app", raising=False)
    yield tmp_path
    overrides.replace({})


def check(*args: str, code: int, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert main(["check", *args]) == code
    return capsys.readouterr()


def test_each_option_has_a_line_that_says_where_it_comes_from(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "f.toml").write_text(
        'port = 0\nheader = ["X-A: \\u00e9\\"\\\\"]\n[routes."/ws"]\nws-max-size = 5\n'
    )
    monkeypatch.setenv("FASTWS_HOST", "::1")
    monkeypatch.setenv("FASTWS_HOTS", "::1")
    out, err = check("--config", "f.toml", "--ws-max-size", "9", "checked_app:routes", code=0, capsys=capsys)
    lines = {line.split(" = ")[0]: " ".join(line.split()) for line in out.splitlines() if " = " in line}
    assert lines["host"] == 'host = "::1" # FASTWS_HOST in the environment'
    assert lines["port"] == "port = 0 # f.toml, line 1"
    assert lines["app"] == 'app = "checked_app:routes" # the command line'
    assert lines["backlog"] == "backlog = 2048 # the default"
    assert lines["ws-max-size"] == "ws-max-size = 5 # f.toml, line 4"  # of the route
    assert '[routes."/ws"] # f.toml, line 3' in " ".join(out.split())
    assert out.splitlines()[-6:] == [
        "listeners: [::1]:0",
        "logs: text",
        "certificates: none",
        "application: checked_app:routes, 2 routes",
        "operation: none",
        "broker: none",
    ]
    assert err == "warning: FASTWS_HOTS in the environment is no option; did you mean 'FASTWS_HOST'?\n"
    # What it prints is a file that says the same.
    (folder / "again.toml").write_text(out[: out.index("listeners:")])
    again, _ = check("--config", "again.toml", code=0, capsys=capsys)
    read = [tomllib.loads(text[: text.index("listeners:")]) for text in (out, again)]
    assert read[0] == read[1]
    assert read[0]["header"] == ['X-A: \u00e9"\\']


def test_an_address_in_use_may_be_that_of_the_server_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{(port := free_port())}"
    with socket.create_server(("127.0.0.1", port)):
        out, err = check("--bind", address, code=0, capsys=capsys)
        assert f"listeners: {address}\n" in out
        assert err == f"warning: {address} is in use: by the server that runs now, or by another program\n"
    assert check("--bind", address, "--bind", "unix:x", code=0, capsys=capsys)[1] == ""


def test_a_server_warns_of_variables_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTWS_PROT", "1")
    with logging_kept():
        assert main(["serve", "--port", "0", "--pid", "nowhere/pid"]) == 3
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("FASTWS_PROT in the environment is no option; did you mean 'FASTWS_PORT'?")
    assert "--pid nowhere/pid" in second


def test_no_secret_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "f.toml"
    file.write_text('auth-token = ["abcdef"]\nssl-keyfile-password = "ghijkl"\n')
    file.chmod(0o640)
    out, err = check("--config", "f.toml", code=0, capsys=capsys)
    assert "abcdef" not in out + err and "ghijkl" not in out + err
    assert "warning: others may read f.toml, which holds a secret\n" in err
    file.chmod(0o600)
    assert "others may read" not in check("--config", "f.toml", code=0, capsys=capsys)[1]


def test_secrets_come_from_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tokens").write_text("one\ntwo\n")
    (folder / "empty").write_text("\n")
    (folder / "latin").write_bytes(b"\xe9")
    check("--auth-token-file", "tokens", code=0, capsys=capsys)
    for name, why in (
        ("nowhere", "No such file or directory"),
        ("empty", "is empty"),
        ("latin", "is no UTF-8"),
    ):
        assert why in check("--auth-token-file", name, code=3, capsys=capsys)[1]
    assert "USER:PASSWORD" in check("--auth-basic-file", "tokens", code=3, capsys=capsys)[1]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--port", "x"], "fastws check: Invalid value for '--port': 'x' is not a valid integer range."),
        (["--prot", "1"], "fastws check: No such option '--prot'."),
        (["nowhere:app"], "fastws check: there is no module 'nowhere' in "),
        (["checked_app:rotes"], "fastws check: checked_app has no attribute 'rotes'"),
        (["--ssl-certfile", "no.pem"], "fastws check: --ssl-certfile no.pem: No such file or directory"),
        (["--broker", "redis://:geheim@127.0.0.1:1"], "fastws check: --broker redis://"),
        (["--publish", "8001"], "fastws check: --publish 127.0.0.1:8001 needs --publish-token-file"),
        (["--host", "192.0.2.1"], "fastws check: cannot listen on 192.0.2.1:8080: this machine has no such"),
        (["--bind", "x"], "fastws check: --bind 'x' is not HOST:PORT, unix:PATH or fd://N"),
        (
            ["--access-log-format", "{pear}"],
            "fastws check: --access-log-format has no {pear}; did you mean 'peer'?",
        ),
        (["--log-config", "no.json"], "fastws check: --log-config no.json: No such file or directory"),
    ],
)
def test_what_does_not_work_ends_with_3(
    args: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = check(*args, code=3, capsys=capsys)
    assert err.startswith(line) and err.count("\n") == 1


def test_all_problems_of_a_file_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "f.toml").write_text("prot = 1\nhots = 1\n")
    _, err = check("--config", "f.toml", code=3, capsys=capsys)
    assert err.splitlines() == [
        "fastws check: f.toml, line 1: there is no option 'prot'; did you mean 'port'?",
        "fastws check: f.toml, line 2: there is no option 'hots'; did you mean 'host'?",
    ]


def test_an_async_factory_is_awaited(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = check("--factory", "checked_app:make", code=0, capsys=capsys)
    assert "application: checked_app:make, 2 routes\n" in out


TABLES = [
    ('[topics."quotes/*"]\nmode = "keyed"\nmax-keys = 99\nevery = 0', None),
    ('[topics."news"]\nhistory = 5\nttl = 1.5', None),
    ('[topics."plain"]\nmax-rate = 1\nsample = 100', None),
    (
        '[topics."quotes/*"]\nmode = "stream"',
        "line 2: mode of 'quotes/*' is 'keyed' in the program; only numbers",
    ),
    (
        '[topics."news"]\npolicy = "evict"',
        "line 2: policy of 'news' is not said in the program; only numbers",
    ),
    ('[topics."news"]\nhistroy = 5', "line 2: a topic has no 'histroy'; did you mean 'history'?"),
    ('[topics."news"]\nmax-kyes = 5', "line 2: a topic has no 'max-kyes'; did you mean 'max-keys'?"),
    ("host = 2020-01-01", "line 1: host is text, not 2020-01-01"),
    ('[topics."plain"]\nhistory = 5', "line 2: history of 'plain' is 0 in the program; a number may change"),
    ('[topics."quotse/*"]\nevery = 1', "line 1: the application declares no topic 'quotse/*'; did you mean"),
    ('[routes."/ws"]\nws-max-size = 9\nws-ping-interval = 0\norigin = "*"\nrequire-origin = true', None),
    ('[routes."/ws"]\nws-per-message-deflate = false', None),
    ('[routes."/sw"]\nws-max-size = 9', "line 1: the application has no route '/sw'; did you mean '/ws'?"),
    ('[[listeners]]\nbind = ":0"\nroutes = ["/ws"]\n[[listeners]]\nbind = "unix:x"\ntls = false', None),
    (
        '[[listeners]]\nbind = ":0"\nroutes = ["/sw"]',
        "line 3: the application has no route '/sw'; did you mean",
    ),
    ('[[listeners]]\nbind = "x"', "line 2: --bind 'x' is not HOST:PORT"),
    (
        '[[listeners]]\nbind = ":0"\nssl-certfile = "no.pem"',
        "--ssl-certfile no.pem: No such file or directory",
    ),
    ('port = 1\n[[listeners]]\nbind = ":0"', "--port does not go with the [[listeners]] of the file"),
    ('uds = "x"\n[[listeners]]\nbind = ":0"', "--uds does not go with the [[listeners]] of the file"),
]


@pytest.mark.parametrize(("text", "problem"), TABLES)
def test_tables_are_compared_with_the_application(
    text: str, problem: str | None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "f.toml").write_text(text)
    _, err = check("--config", "f.toml", "checked_app:routes", code=3 if problem else 0, capsys=capsys)
    assert (problem is None and err == "") or (problem is not None and problem in err)
    assert "cannot import" not in err


def test_values_as_toml() -> None:
    text = 'a"b\\c\n\x85\u20ac'
    assert tomllib.loads(f"x = {toml(text)}")["x"] == text
    assert toml([1, 2.5, True, "x"]) == '[1, 2.5, true, "x"]'


def test_the_log_may_be_configured_by_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("fastws.of-the-check").level
    values = {"version": 1, "loggers": {"fastws.of-the-check": {"level": "ERROR"}}}
    (folder / "l.json").write_text(json.dumps(values))
    check("--log-config", "l.json", code=0, capsys=capsys)
    assert logging.getLogger("fastws.of-the-check").level == before  # nothing is configured by a check


def test_a_certificate_has_its_time(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["cert", "--directory", "."]) == 0
    capsys.readouterr()
    files = ("--ssl-certfile", "server.pem", "--ssl-keyfile", "server-key.pem")
    out, _ = check(*files, code=0, capsys=capsys)
    (line,) = [line for line in out.splitlines() if line.startswith("certificates: ")]
    assert re.fullmatch(r"certificates: server\.pem until \d{4}-\d\d-\d\d", line)

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2100, 1, 1, tzinfo=tz)

    monkeypatch.setattr("fastws.cli.check.datetime", Later)
    _, err = check(*files, code=3, capsys=capsys)
    assert re.match(r"fastws check: --ssl-certfile server\.pem is valid from \S+ to \S+\n", err)


def test_the_broker_of_a_hub_of_the_application_is_tried(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "own_broker.py").write_text(
        'import fastws\nhub = fastws.Hub(broker="redis://:geheim@127.0.0.1:1")\nroutes = []\n'
    )
    _, err = check("own_broker:routes", code=3, capsys=capsys)
    assert err.startswith("fastws check: broker redis://***@127.0.0.1:1: Error 111")
    assert err.count("\n") == 1
