"""A reload reads the file of options again."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from fastws.cli.config_option import tables_of
from fastws.cli.reread import Reread
from fastws.cli.serve import serve
from tests.cli.helpers import PATIENCE, get, running
from tests.workers.processes import pids, wait_gone


class TestReading:
    """In this process, without workers."""

    @pytest.fixture
    def again(self, tmp_path: Path) -> Callable[[str], tuple[Reread, dict[str, Any]]]:
        def make(text: str) -> tuple[Reread, dict[str, Any]]:
            file = tmp_path / "f.toml"
            file.write_text(text)
            context = serve.make_context("serve", ["--config", str(file)])
            with context:
                options = {**context.params, "tables": tables_of(context)}
                app = options.pop("app")
                return Reread(options, lambda given: given, [refuse]), {"app": app, "options": options}

        def refuse(options: dict[str, Any]) -> None:
            if options["root_path"] == "/refused":
                raise click.UsageError("as asked")

        return make

    def test_what_changes(self, again: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "fastws.error")
        reread, hello = again("ws-max-size = 5\n")
        (tmp_path / "f.toml").write_text('app = "a:b"\nws-max-size = 6\nworkers = 3\n[routes."/x"]\n')
        reread.refresh(hello)
        assert (hello["app"], hello["options"]["ws_max_size"], hello["options"]["workers"]) == ("a:b", 6, 1)
        assert list(hello["options"]["tables"]["routes"]) == ["/x"]
        assert caplog.messages == [
            "--workers changes with a restart only",
            "the file of options has been read again; changed: ws-max-size, routes",
        ]
        caplog.clear()
        reread.refresh(hello)
        assert caplog.messages == ["--workers changes with a restart only"]

    def test_a_table_that_has_moved_has_not_changed(
        self, again: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "fastws.error")
        reread, hello = again('[topics."t"]\nhistory = 5\n')
        (tmp_path / "f.toml").write_text('ws-max-size = 5\n\n[topics."t"]\nhistory = 5\n')
        reread.refresh(hello)
        (tmp_path / "f.toml").write_text('ws-max-size = 5\n\n[topics."t"]\nhistory = 6\n')
        reread.refresh(hello)
        again_read = "the file of options has been read again; changed: "
        assert caplog.messages == [f"{again_read}ws-max-size", f"{again_read}topics"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("ws-max-sise = 6", "line 1: there is no option 'ws-max-sise'; did you mean 'ws-max-size'?"),
            ("port = 99999", "99999 is not in the range"),
            ("port = ", "is no TOML"),
            ('root-path = "/refused"', "as asked"),
        ],
    )
    def test_what_is_wrong_changes_nothing(
        self, text: str, why: str, again: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        reread, hello = again("ws-max-size = 5\n")
        before = dict(hello)
        (tmp_path / "f.toml").write_text(text)
        reread.refresh(hello)
        assert hello == before
        (line,) = caplog.messages
        assert line.startswith("the options stay as they were: ") and why in line

    def test_listeners_stay(self, again: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        reread, hello = again('[[listeners]]\nbind = ":1"\n')
        (tmp_path / "f.toml").write_text('[[listeners]]\nbind = ":1"\nroutes = ["/a"]\n')
        reread.refresh(hello)
        (listener,) = hello["options"]["tables"]["listeners"]
        assert listener["values"]["routes"] == ["/a"]
        (tmp_path / "f.toml").write_text('[[listeners]]\nbind = ":2"\n')
        reread.refresh(hello)
        (listener,) = hello["options"]["tables"]["listeners"]
        assert listener["values"]["bind"] == ":1"
        assert "[[listeners]] change with a restart only" in caplog.messages

    def test_without_a_file_nothing_is_read(self) -> None:
        context = serve.make_context("serve", [])
        with context:
            Reread({"config": None}, lambda given: given, []).refresh({})


@pytest.mark.live
@pytest.mark.system
def test_workers_follow_the_file(tmp_path: Path) -> None:
    file = tmp_path / "fastws.toml"
    text = (
        'workers = 2\nheader = "X-Server: first"\ntimeout-drain = 0\n'
        '[[listeners]]\nbind = "127.0.0.1:0"\nroutes = ["/healthz"]\n'
        '[[listeners]]\nbind = "127.0.0.1:0"\nssl-certfile = "tls.pem"\n'
    )
    from tests.cli.helpers import fastws as run

    assert run("cert", "localhost", "--directory", tmp_path).returncode == 0
    (tmp_path / "tls.pem").write_bytes(
        (tmp_path / "server.pem").read_bytes() + (tmp_path / "server-key.pem").read_bytes()
    )
    file.write_text(text)

    def until(text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in server.stderr():
            assert time.monotonic() < deadline, server.stderr()
            time.sleep(0.05)

    with running(tmp_path, "serve", "--config", "fastws.toml") as server:
        server.line("Serving on https://")
        plain, secure = re.findall(r"Serving on (\S+)", server.stderr())
        assert get(plain)[1]["x-server"] == "first"
        assert get(plain, "/")[0] == 404
        secure = secure.replace("127.0.0.1", "localhost")
        assert get(secure, "/", tmp_path / "ca.pem")[0] == 200
        before = pids(server, 2)
        file.write_text(text.replace("first", "second").replace('routes = ["/healthz"]', 'routes = ["/"]'))
        server.process.send_signal(signal.SIGHUP)
        until("reload: done")
        for pid in before:  # until then it may serve whoever came before it was told to leave
            wait_gone(pid)
        assert get(plain, "/")[1]["x-server"] == "second"
        assert get(plain)[0] == 404
        file.write_text("nonsense = 1\n")
        server.process.send_signal(signal.SIGHUP)
        until("the options stay as they were: fastws.toml, line 1: there is no option 'nonsense'")
        assert get(plain, "/")[1]["x-server"] == "second"
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()
