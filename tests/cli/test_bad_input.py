"""Every mistake that a person can make before a server runs: one line on stderr, and 2 or 3."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fastws.cli.main import main
from tests.cli.helpers import Result, assert_one_line, fastws


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--port", "99999"], "Invalid value for '--port': 99999 is not in the range 0<=x<=65535"),
        (["--port", "http"], "Invalid value for '--port': 'http' is not a valid integer"),
        (["--bind", "8080"], "--bind '8080' is not HOST:PORT, unix:PATH or fd://N"),
        (["--bind", ":0", "--port", "1"], "--port does not go with --bind, --uds or --fd"),
        (["--uds", "/tmp/x", "--host", "::1"], "--host does not go with --bind, --uds or --fd"),
        (["--fd", "-1"], "Invalid value for '--fd'"),
        (["--header", "X-Server"], "'X-Server' has no colon"),
        (["--header", "Bad Name: x"], "'Bad Name' is not a header name"),
        (["--header", "Content-Length: 1"], "Content-Length is set by the protocol itself"),
        (["--origin", "example.org"], "'example.org' is not an origin"),
        (["--forwarded-allow-ips", "proxy"], "write addresses or networks"),
        (["--ws-max-size", "0"], "Invalid value for '--ws-max-size'"),
        (["--ws-ping-interval", "-1"], "Invalid value for '--ws-ping-interval'"),
        (["--ws-per-message-deflate", "perhaps"], "'perhaps' is not a valid boolean"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--loop", "gevent"], "'gevent' is not one of"),
        (["--limit-concurrency", "0"], "Invalid value for '--limit-concurrency'"),
        (["--limit-connections-per-address", "0"], "Invalid value for '--limit-connections-per-address'"),
        (["--limit-messages-per-second", "0"], "Invalid value for '--limit-messages-per-second'"),
        (["--timeout-graceful-shutdown", "soon"], "'soon' is not a valid float"),
        (["--ssl-keyfile", "key.pem"], "--ssl-keyfile needs --ssl-certfile"),
        (["--ssl-keyfile-password-file", "f"], "--ssl-keyfile-password-file needs --ssl-certfile"),
        (["--config", ""], "--config names no file"),
        (["--factory"], "--factory needs MODULE:ATTR"),
        (["app"], "'app' is not module:attr"),
        (["a:b", "c:d"], "unexpected extra argument (c:d)"),
    ],
)
def test_usage(fastws_here: Callable[..., Result], args: list[str], text: str) -> None:
    assert_one_line(fastws_here("serve", *args), 2, text)


def test_usage_from_the_environment_names_the_variable() -> None:
    assert_one_line(fastws("serve", FASTWS_PORT="many"), 2, "FASTWS_PORT")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--ssl-certfile", "no.pem"], "--ssl-certfile no.pem: No such file or directory"),
        (["--static", "no-folder"], "--static no-folder: no such directory"),
        (["--static", "/a=no-folder"], "--static no-folder: no such directory"),
        (["--static", "file.txt"], "--static file.txt: Not a directory"),
        (["--host", "no-such-host.invalid"], "cannot listen on no-such-host.invalid:8080: no such host"),
        (["--host", "203.0.113.7"], "this machine has no such address"),
        (["--uds", "no-folder/sock"], "cannot listen on unix:no-folder/sock: No such file or directory"),
        (["--fd", "987"], "cannot listen on fd://987: Bad file descriptor"),
        (["no_such_module:x"], "there is no module 'no_such_module' in "),
        (["app:x", "--app-dir", "no-folder"], "--app-dir no-folder: no such directory"),
        (["app:missing"], "app has no attribute 'missing'"),
        (["app:number"], "app:number cannot be served: "),
        (["app:plain"], "app:plain cannot be served: "),
        (["app:twice"], "app:twice cannot be served: two routes have the path '/a'"),
        (["app:mixed"], "app:mixed cannot be served: "),
        (["app:number", "--factory"], "--factory: app:number is not callable"),
        (["broken:x"], "No module named 'dependency_that_is_missing'"),
    ],
)
def test_cannot_start(args: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "broken.py").write_text("\nimport dependency_that_is_missing\n")
    (tmp_path / "app.py").write_text(
        "import fastws\n"
        "number = 5\n"
        "def plain(ws): pass\n"
        "async def handler(ws): pass\n"
        "twice = [fastws.Route('/a', handler), fastws.Route('/a', handler)]\n"
        "mixed = [fastws.Route('/a', handler), 7]\n"
    )
    assert_one_line(fastws("serve", *args, cwd=tmp_path), 3, text)


def test_the_line_of_an_error_in_a_persons_module_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("\nimport dependency_that_is_missing\n")
    result = fastws("serve", "broken:x", cwd=tmp_path)
    assert_one_line(result, 3, f"({tmp_path}/broken.py, line 2)")


def test_a_busy_port() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        text = f"cannot listen on 127.0.0.1:{port}: it is in use by another program"
        assert_one_line(fastws("serve", "--port", port), 3, text)


def test_a_key_that_does_not_belong_to_the_certificate(tmp_path: Path) -> None:
    assert main(["cert", "--directory", str(tmp_path)]) == 0
    files = ["--ssl-certfile", "server.pem", "--ssl-keyfile", "ca-key.pem"]
    text = "the key in ca-key.pem does not belong to the certificate in server.pem"
    assert_one_line(fastws("serve", *files, cwd=tmp_path), 3, text)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "Missing argument 'URL'"),
        (["http://127.0.0.1/"], "is not a WebSocket URL"),
        (["127.0.0.1:8080"], "is not a WebSocket URL"),
        (["ws://"], "is not a WebSocket URL"),
        (["ws://h:port/"], "is not a WebSocket URL"),
        (["ws://h:0/"], "is not a WebSocket URL"),
        (["ws://h/", "--subprotocol", "a b"], "--subprotocol 'a b' is not a token"),
        (["ws://h/", "--interval", "0"], "Invalid value for '--interval'"),
        (["ws://h/", "--header", "x"], "'x' has no colon"),
    ],
)
def test_connect_usage(fastws_here: Callable[..., Result], args: list[str], text: str) -> None:
    assert_one_line(fastws_here("connect", *args), 2, text)


def test_connect_with_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    for name, why in (
        ("no.pem", "No such file or directory"),
        ("junk.pem", "there is no PEM certificate in it"),
    ):
        result = fastws("connect", "wss://127.0.0.1:1/", "--ssl-ca-certs", name, cwd=tmp_path)
        assert_one_line(result, 3, f"--ssl-ca-certs {name}: {why}")
