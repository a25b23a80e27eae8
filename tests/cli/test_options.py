"""The values that people write on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fastws.cli.options import FILES, HEADER, ORIGIN, TRUSTED, Command, Seconds, option, seconds_or_never


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("X-Server:mine", ("X-Server", "mine")),
        ("X-Empty:", ("X-Empty", "")),
        ("X-Time: 12:30:00 ", ("X-Time", "12:30:00")),
        ("X-Latin:\xe9", ("X-Latin", "\xe9")),
    ],
)
def test_a_header_is_split_at_its_first_colon(text: str, pair: tuple[str, str]) -> None:
    assert HEADER.convert(text, None, None) == pair
    assert HEADER.convert(pair, None, None) == pair


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("X-Server", "no colon"),
        (":value", "not a header name"),
        ("X Server: mine", "not a header name"),
        ("X-Server: a\r\nX-Evil: b", "characters that no header can carry"),
        ("X-Server: \x00", "characters that no header can carry"),
        ("X-Server: \u20ac", "characters that no header can carry"),
        ("Content-Length: 5", "set by the protocol itself"),
        ("sec-websocket-accept: x", "set by the protocol itself"),
        ("TRANSFER-ENCODING: chunked", "set by the protocol itself"),
    ],
)
def test_what_is_no_header_is_refused(text: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why):
        HEADER.convert(text, None, None)


def test_headers_in_the_environment_stand_one_a_line() -> None:
    assert HEADER.split_envvar_value("X-A: 1 2\nX-B: 3") == ["X-A: 1 2", "X-B: 3"]


def test_files_in_the_environment_stand_as_in_a_path(tmp_path: Path) -> None:
    name = str(tmp_path / "host:8443.pem")
    assert FILES.split_envvar_value(os.pathsep.join(["a b.pem", "c.pem", ""])) == ["a b.pem", "c.pem"]
    assert FILES.split_envvar_value(name) == name.split(os.pathsep)
    Path(name).touch()
    assert FILES.split_envvar_value(name) == [name]


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("*", "*"),
        ("https://Example.org", "https://example.org"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:443", "http://example.org:443"),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, origin: str) -> None:
    assert ORIGIN.convert(text, None, None) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "https://",
        "https://a.b/c",
        "https://a.b?c",
        "https://u@a.b",
        "https://a:x",
        "http://[",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not an origin"):
        ORIGIN.convert(text, None, None)


def test_trusted_proxies_are_addresses_and_networks() -> None:
    assert TRUSTED.convert("10.0.0.0/8, ::1,127.0.0.1", None, None) == ("10.0.0.0/8", "::1", "127.0.0.1")
    assert TRUSTED.convert("*", None, None) == ("*",)
    assert TRUSTED.convert("", None, None) == ()
    assert TRUSTED.convert(("*",), None, None) == ("*",)
    with pytest.raises(click.BadParameter, match="write addresses or networks"):
        TRUSTED.convert("127.0.0.1,proxy.example", None, None)


@pytest.mark.parametrize("text", ["inf", "nan", "-inf", "1e999", "-1", "x"])
def test_seconds_end(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Seconds(0).convert(text, None, None)


def test_zero_seconds_mean_never() -> None:
    assert seconds_or_never(0.0) is None
    assert seconds_or_never(0.5) == 0.5


@pytest.mark.parametrize("value", ["tcp://10.96.0.1:8080", "udp://10.96.0.1:53", "TCP://[fd00::1]:80 "])
@pytest.mark.parametrize("name", ["FASTWS_PORT", "FASTWS_HOST", "FASTWS_LIMIT_HEADERS"])
def test_a_service_link_in_the_environment_is_no_setting(name: str, value: str) -> None:
    @click.command(cls=Command, context_settings={"auto_envvar_prefix": "FASTWS"})
    @option("--port", section="A", type=int, default=8080)
    @option("--host", section="A", default="127.0.0.1")
    @option("--limit-headers", section="A", type=int, default=7)
    def command(**options: object) -> None:
        click.echo(options)

    environment = {name: value, "FASTWS_SERVICE_HOST": "10.96.0.1", "FASTWS_PORT_8080_TCP": value}
    result = CliRunner().invoke(command, [], env=environment)
    assert result.exit_code == 0
    assert "{'port': 8080, 'host': '127.0.0.1', 'limit_headers': 7}" in result.output
    assert result.output.count("service link") == 1
    assert f"{name}={value}" in result.output
    # What was meant for us is not passed over.
    assert CliRunner().invoke(command, [], env={"FASTWS_PORT": "tcp"}).exit_code == 2
    assert "'port': 9" in CliRunner().invoke(command, [], env={"FASTWS_PORT": "9"}).output
