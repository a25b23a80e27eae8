"""The command itself: what it is called, what it knows, how it fails."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from fastws._version import __version__, hot_path_state
from fastws.cli.main import COMMANDS, main
from fastws.protocol.websocket.frames import ENGINE
from tests.cli.helpers import environment, fastws, running


def test_python_m_fastws_says_its_version_and_what_runs() -> None:
    result = fastws("--version")
    assert (result.returncode, result.stderr) == (0, "")
    uvloop = importlib.util.find_spec("uvloop") is not None
    loop = f"uvloop {version('uvloop')}" if uvloop else "asyncio"
    assert (
        result.stdout == f"fastws {__version__} (engine {ENGINE}, hot path {hot_path_state()}, loop {loop})\n"
    )


def test_the_version_follows_what_the_environment_chooses() -> None:
    result = fastws("--version", FASTWS_ENGINE="wsproto", FASTWS_COMPILED="0")
    assert "engine wsproto, hot path interpreted" in result.stdout
    result = fastws("--version", FASTWS_ENGINE="fast")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (3, "", 1)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_start_line_says_what_runs(loop: str, tmp_path: Path) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with running(tmp_path, "serve", "--port", 0, "--loop", loop) as server:
        line = server.line("Serving on ")
    assert f"(press Ctrl-C to stop); engine {ENGINE}, hot path {hot_path_state()}, loop {loop}" in line
    assert line.endswith(f", fastws {__version__}")


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, lazy in COMMANDS.items():
        assert f"{name} " in shown and lazy.summary in " ".join(shown.split())


def test_without_a_command_the_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Usage: fastws" in captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_stands_in_sections(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: fastws {command}" in shown
    assert "--help" in shown.split("Other:")[1]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["dance"], "fastws: No such command 'dance'."),
        (["serve", "--dance"], "fastws serve: No such option '--dance'."),
        (["--dance"], "fastws: No such option '--dance'."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(args: list[str], line: str) -> None:
    result = fastws(*args)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(line) and result.stderr.count("\n") == 1


def test_help_imports_no_server() -> None:
    """Start-up is quick because nothing is imported that the command does not use."""
    code = (
        "import sys; from fastws.cli.main import main; main(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('asyncio', 'h11', 'wsproto', 'ssl', 'cryptography')))"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, timeout=20)
    assert result.returncode == 0


def test_ctrl_c_before_there_is_a_server_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastws.cli.main.importlib.import_module", interrupted)
    assert main(["serve"]) == 130
