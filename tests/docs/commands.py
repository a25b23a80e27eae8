"""Commands that a test cannot run as they stand: every option and file in them has to exist all the same."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Sequence
from configparser import ConfigParser
from importlib.util import find_spec

import click

from bench.cli import main as bench_main
from fastws.apps import builtin
from fastws.cli.main import fastws as fastws_main
from fastws.web.routes import Route
from tests.docs.pages import ROOT

__all__ = ["check_commands"]

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
#: Where the pages' own programs for other machines come from; their options are not ours to check.
FOREIGN = {
    "apt",
    "docker",
    "sudo",
    "systemctl",
    "journalctl",
    "git",
    "certbot",
    "cd",
    "cp",
    "mkdir",
    ".",
    "tox",
    "ss",
    "npm",
}

#: The built-in application as the pages address it, and where it has a WebSocket.
BUILTIN_URL = "ws://127.0.0.1:8080"
BUILTIN_PATHS = {route.path for route in builtin.routes([]) if isinstance(route, Route) and route.handler}


def check_commands(script: str) -> None:
    """Raise ``AssertionError`` for a command that no rule covers or that could not work."""
    for line in script.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|", line):
            words = shlex.split(part, comments=True)
            if words:
                check_command(words)


def check_command(words: list[str]) -> None:
    words = [word for word in words if word not in ("&", "nohup")]
    settings = []
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        settings.append(words.pop(0).partition("=")[0])
    if not words:
        return
    program = re.sub(r"^(\.venv|/opt/[a-z]+)/bin/", "", words[0])
    if program in FOREIGN:
        return
    rule = RULES.get(program)
    assert rule is not None, f"no rule for the command {program!r}"
    rule(words[1:], settings)


def check_fastws(arguments: list[str], settings: Sequence[str]) -> None:
    command = parse(fastws_main, "fastws", arguments)
    known = {f"FASTWS_{param.name}".upper() for param in command.params}
    known |= {"FASTWS_ENGINE", "FASTWS_COMPILED"}
    assert set(settings) <= known, f"{settings} are no options of fastws {command.name}"
    for word in arguments:
        if word.startswith(BUILTIN_URL):
            path = word.removeprefix(BUILTIN_URL).partition("?")[0]
            assert path in BUILTIN_PATHS, f"the built-in application has no WebSocket at {path}"


def parse(group: click.Command, name: str, arguments: list[str]) -> click.Command:
    """Parse as the program would, types of values too, and run nothing. Returns the command."""
    command: click.Command = group
    try:
        context = group.make_context(name, list(arguments))
        assert isinstance(group, click.Group)
        found, chosen, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None and chosen is not None
        command = chosen
        command.make_context(found, rest, parent=context)
    except click.exceptions.Exit:  # --help, --version
        pass
    except click.ClickException as error:
        # What a file on another machine says is not known here.
        if not error.message.startswith("--config "):
            raise AssertionError(f"{name} {shlex.join(arguments)}: {error.format_message()}") from None
    return command


def check_python(arguments: list[str], settings: Sequence[str]) -> None:
    if arguments[:2] == ["-m", "bench"]:
        check_bench(arguments[2:])
    elif arguments[:2] == ["-m", "fastws"]:
        check_fastws(arguments[2:], settings)
    elif arguments[:2] == ["-m", "pip"]:
        check_pip(arguments[2:], settings)
    elif arguments[:2] == ["-m", "pytest"]:
        check_pytest(arguments[2:], settings)
    elif arguments[:1] == ["-m"]:
        assert find_spec(arguments[1]) is not None, f"there is no module {arguments[1]}"
    elif arguments[:1] == ["-c"]:
        compile(arguments[1], "-c", "exec")
    else:
        assert (ROOT / arguments[0]).is_file(), f"there is no program {arguments[0]}"


def check_bench(arguments: list[str]) -> None:
    # A run that is not there cannot be compared: any file of the right kind has the options checked.
    made = next((ROOT / "bench").glob("results/*.json"), None)
    if any(word.endswith(".json") for word in arguments) and made is None:
        names = {option for param in bench_main.commands[arguments[0]].params for option in param.opts}
        assert {word for word in arguments if word.startswith("-")} <= names
        return
    parse(bench_main, "bench", [str(made) if word.endswith(".json") else word for word in arguments])


def check_pip(arguments: list[str], settings: Sequence[str]) -> None:
    assert arguments[0] == "install", arguments
    for word in arguments[1:]:
        for extra in re.findall(r"\[(.*?)\]", word):
            assert set(extra.split(",")) <= set(EXTRAS), f"pyproject.toml has no extra {extra}"


def check_pytest(arguments: list[str], settings: Sequence[str]) -> None:
    for word in arguments:
        if word.startswith("tests/"):
            assert (ROOT / word.partition("::")[0]).exists(), word


def check_curl(arguments: list[str], settings: Sequence[str]) -> None:
    assert any("://" in word for word in arguments), arguments


def check_tox(arguments: list[str], settings: Sequence[str]) -> None:
    config = ConfigParser()
    config.read(ROOT / "tox.ini")
    for name in arguments[arguments.index("-e") + 1 :] if "-e" in arguments else []:
        assert f"testenv:{name}" in config, f"tox.ini has no environment {name}"


def nothing(arguments: list[str], settings: Sequence[str]) -> None:
    """The command stands alone, or CI runs it with these arguments."""
    assert all(word.startswith(("-", ".", "'")) or (ROOT / word).exists() for word in arguments), arguments


RULES: dict[str, Callable[[list[str], Sequence[str]], None]] = {
    "fastws": check_fastws,
    "python": check_python,
    "python3": check_python,
    "pip": check_pip,
    "pytest": check_pytest,
    "curl": check_curl,
    "tox": check_tox,
    "mypy": nothing,
    "ruff": lambda arguments, _: nothing(arguments[1:], _),
    "uvicorn": lambda arguments, _: None,
    "sphinx-build": lambda arguments, _: None,
}
FOREIGN.discard("tox")
