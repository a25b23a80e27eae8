"""``--config``: what a file may say, what is refused and where it stands, and what wins over what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.core import ParameterSource
from click.testing import CliRunner

from fastws.cli.check import toml
from fastws.cli.config_file import ConfigError
from fastws.cli.main import main
from fastws.cli.options import Command
from fastws.cli.serve import serve
from tests.rows import all_rows


def parsed(*args: str, file: str | None = None, folder: Path, **env: str) -> click.Context:
    """What ``fastws serve`` reads of its three sources."""
    if file is not None:
        path = folder / "fastws.toml"
        path.write_text(file, encoding="utf-8")
        args = ("--config", str(path), *args)
    with CliRunner(env=env).isolation(env=env):
        return serve.make_context("serve", list(args))


def problems(text: str, folder: Path) -> list[str]:
    """What is wrong with a file, without its folder."""
    with pytest.raises(ConfigError) as raised:
        parsed(file=text, folder=folder)
    return [problem.replace(f"{folder}/", "") for problem in raised.value.problems]


#: For options whose values have a form; all others get one by their type.
EXAMPLES: dict[str, tuple[Any, str]] = {
    "app": ("chat.app:routes", "chat.app:routes"),
    "header": (["X-A: 1"], "X-A: 1"),
    "origin": (["https://a.example"], "https://a.example"),
    "allowed_host": (["a.example"], "a.example"),
    "forwarded_allow_ips": (["10.0.0.0/8"], "10.0.0.0/8"),
    "workers": (3, "3"),
}


def example(param: click.Parameter, untouched: Any) -> tuple[Any, str]:
    """A value of an option that is not its default: as a file has it, and as text."""
    assert param.name is not None
    if param.name in EXAMPLES:
        return EXAMPLES[param.name]
    kind, value = param.type, 7
    if isinstance(kind, click.Choice):
        choice = next(each for each in kind.choices if each != untouched)
        return choice, str(choice)
    if isinstance(kind, click.types.BoolParamType):
        return not untouched, str(not untouched).lower()
    if isinstance(kind, click.types.IntParamType):
        top = getattr(kind, "max", None)
        return (value if top is None or top >= value else top), str(min(value, top or value))
    if isinstance(kind, click.types.FloatParamType):
        return 7.5, "7.5"
    text = "text"
    return ([text] if param.multiple else text), text


OPTIONS = [param for param in serve.params if param.name not in ("config", "help")]


def test_every_option_can_be_set_three_ways_and_the_nearest_wins(tmp_path: Path) -> None:
    with all_rows() as row:
        for param in OPTIONS:
            with row(str(param.name)):
                three_ways(param, tmp_path)


def three_ways(param: click.Parameter, folder: Path) -> None:
    assert param.name is not None
    untouched = parsed(folder=folder).params[param.name]
    value, text = example(param, untouched)
    key, variable = param.name.replace("_", "-"), f"FASTWS_{param.name.upper()}"
    file = f"{key} = {toml(value)}\n"
    if not isinstance(param, click.Option):
        args = [text]
    elif param.is_flag:
        args = [(param.opts if value else param.secondary_opts)[0]]
    else:
        args = [param.opts[0], text]
    by_line = parsed(*args, folder=folder).params[param.name]
    assert by_line != untouched
    assert parsed(file=file, folder=folder).params[param.name] == by_line
    assert parsed(folder=folder, **{variable: text}).params[param.name] == by_line
    if isinstance(param.type, click.types.BoolParamType):
        # Of two values the one of the nearer place is in force.
        other = str(not value).lower()
        assert parsed(file=file, folder=folder, **{variable: other}).params[param.name] == untouched
        assert parsed(*args, file=f"{key} = {other}", folder=folder).params[param.name] == by_line
        return
    both = parsed(file=file, folder=folder, **{variable: text})
    assert both.get_parameter_source(param.name) is ParameterSource.ENVIRONMENT
    all_three = parsed(*args, file=file, folder=folder, **{variable: text})
    assert all_three.get_parameter_source(param.name) is ParameterSource.COMMANDLINE


def test_a_file_may_write_names_with_both_lines(tmp_path: Path) -> None:
    assert parsed(file="ws_max_size = 9", folder=tmp_path).params["ws_max_size"] == 9
    assert problems("ws_max_size = 9\nws-max-size = 9", tmp_path) == [
        "fastws.toml, line 2: ws-max-size stands there twice, with - and with _"
    ]


def test_one_value_stands_for_a_list_of_one(tmp_path: Path) -> None:
    params = parsed(file='header = "X-A: b"\nforwarded-allow-ips = "10.0.0.1, ::1"', folder=tmp_path).params
    assert params["header"] == (("X-A", "b"),)
    assert params["forwarded_allow_ips"] == ("10.0.0.1", "::1")
    assert parsed(file='workers = "auto"', folder=tmp_path).params["workers"] >= 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prot = 1", "line 1: there is no option 'prot'; did you mean 'port'?"),
        ("zzzzz = 1", "line 1: there is no option 'zzzzz'"),
        ("config = 'x'", "line 1: there is no option 'config'"),
        ("\n\nport = '80'", "line 3: port is a whole number, not '80'"),
        ("port = 1.5", "line 1: port is a whole number, not 1.5"),
        ("port = true", "line 1: port is a whole number, not true"),
        ("host = 5", "line 1: host is text, not 5"),
        ("reload = 1", "line 1: reload is true or false, not 1"),
        ("access-log = 'no'", "line 1: access-log is true or false, not 'no'"),
        ("timeout-body = '5'", "line 1: timeout-body is a number, not '5'"),
        ("workers = 1.5", 'line 1: workers is a whole number or "auto", not 1.5'),
        ("header = [1]", "line 1: header is text, not 1"),
        ("header = {a = 1}", "line 1: header is text, not a table"),
        ("host = ['a']", "line 1: host is text, not a list"),
        ("listeners = 1", "line 1: listeners is a list of tables: [[listeners]]"),
        ("[listeners]\nbind = 'x'", "line 1: listeners is a list of tables: [[listeners]]"),
        ("[[listeners]]\nroutes = ['/']", "line 1: a listener has a bind: HOST:PORT, unix:PATH or fd://N"),
        ("[[listeners]]\nbind = 8", "line 2: bind is text, not 8"),
        ("[[listeners]]\nbind = ':1'\nroutes = '/'", "line 3: routes is a list of paths of routes, not '/'"),
        ("[[listeners]]\nbind = ':1'\ntls = 'no'", "line 3: tls is true or false, not 'no'"),
        ("[[listeners]]\nbind = ':1'\nbnd = 1", "line 3: a listener has no 'bnd'; did you mean 'bind'?"),
        (
            "[[listeners]]\nbind = ':1'\n[[listeners]]\nbind = ':2'\nworkers = 2",
            "line 5: workers is an option of the server, not of a listener",
        ),
        (
            "[[listeners]]\nbind = ':1'\nssl-cert-reqs = 3",
            "line 3: ssl-cert-reqs: 3 is not in the range 0<=x<=2.",
        ),
        ("routes = 1", 'line 1: routes is a table of tables: [routes."NAME"]'),
        ("[routes]\na = 1", 'line 2: routes is a table of tables: [routes."a"]'),
        (
            "[routes.'/']\nws-max-sise = 1",
            "line 2: a route has no 'ws-max-sise'; did you mean 'ws-max-size'?",
        ),
        ("[routes.'/']\nworkers = 1", "line 2: workers is an option of the server, not of a route"),
        ("[routes.'/']\nws-max-size = 0", "line 2: ws-max-size: 0 is not in the range x>=1."),
        ("[routes.'/']\norigin = 'x'", "line 2: origin: 'x' is not an origin; write scheme://host[:port]"),
        ("routes.'/'.origin = 5", "line 1: origin is text, not 5"),
        ("[topics.'a']\nmod = 'keyed'", "line 2: a topic has no 'mod'; did you mean 'mode'?"),
        ("[topics.'a']\nmode = 1", "line 2: mode is text, not 1"),
        ("[topics.'a']\nhistory = 1.5", "line 2: history is a whole number, not 1.5"),
        ("[topics.'a']\nttl = 'x'", "line 2: ttl is a number, not 'x'"),
        ("[topics.'a']\nttl = inf", "line 2: ttl is a number above 0, not inf"),
        ("[topics.'a']\nmax-keys = -1", "line 2: max-keys is a number above 0, not -1"),
        ("[topics.'a']\nkeep = 'f'", "line 2: a topic has no 'keep'"),
    ],
)
def test_what_is_wrong_names_the_line(text: str, problem: str, tmp_path: Path) -> None:
    (found,) = problems(text, tmp_path)
    assert found.startswith(f"fastws.toml, {problem}")


def test_every_problem_is_told(tmp_path: Path) -> None:
    found = problems('prot = 1\nhost = 1\n[routes."/a"]\nx = 1\n[topics."b"]\ny = 1\n', tmp_path)
    assert [problem.split(":")[0] for problem in found] == [f"fastws.toml, line {n}" for n in (1, 2, 4, 6)]


def test_what_is_no_toml(tmp_path: Path) -> None:
    (found,) = problems("port = = 1", tmp_path)
    assert found == "fastws.toml is no TOML: Invalid value (at line 1, column 8)"
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="bad is no UTF-8"):
        parsed("--config", str(tmp_path / "bad"), folder=tmp_path)


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    for text, code, line in (
        ("port = 99999\n", 2, f"99999 is not in the range 0<=x<=65535. (from {file}, line 1)"),
        ("prot = 1\nhots = 2\n", 2, "did you mean 'port'? (and 1 more: see `fastws check`)"),
    ):
        file.write_text(text)
        assert main(["serve", "--config", str(file)]) == code
        stderr = capsys.readouterr().err
        assert stderr.count("\n") == 1 and stderr.rstrip().endswith(line)
    assert main(["serve", "--config", str(tmp_path / "nowhere")]) == 3
    assert capsys.readouterr().err.endswith("nowhere: No such file or directory\n")


def test_the_lines_of_keys_are_found_in_any_writing(tmp_path: Path) -> None:
    found = problems(
        "\n".join(
            [
                '"prot" = 1',
                "'hots' = '''",
                "port = 'inside of a text'",
                "'''",
                '[ routes . "/a\\u0062" ]',
                "x = 1",
                "[topics]",
                "a.y = 1",
                "b = { z = 1 }",
            ]
        ),
        tmp_path,
    )
    assert [problem.split(":")[0] for problem in found] == [
        f"fastws.toml, line {number}" for number in (1, 2, 6, 8, 9)
    ]


def test_a_command_without_a_file_has_no_tables() -> None:
    from fastws.cli.config_option import tables_of

    context = click.Context(Command("x"))
    assert tables_of(context) == {"listeners": [], "routes": {}, "topics": {}}
