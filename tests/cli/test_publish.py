"""``fastws publish`` and ``fastws serve --publish``: what both say, and what they do together."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastws.cli import publish as command
from fastws.publish.errors import PublishError
from fastws.publish.publisher import Publisher
from tests.cli.helpers import Result, assert_one_line, fastws, running
from tests.publish.served import ALL, PageServer, page_served

Here = Callable[..., Result]

APP = """
import fastws

hub = fastws.Hub()
hub.topic("rooms/*", history=100)
hub.topic("quotes", mode="keyed")
feed = fastws.Feed(hub, may_subscribe=fastws.anyone)
app = [fastws.Route("/feed", feed, http=feed.sse)]
"""


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# a comment\n\n{ALL} **\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def served() -> Iterator[PageServer]:
    with page_served() as served:
        yield served


def kept(served: PageServer, topic: str) -> list[Any]:
    return [each.message for each in served.do(served.hub.history(topic, 10_000))]


# -- publish ------------------------------------------------------------------------------------


@pytest.mark.live
def test_one_message(fastws_here: Here, served: PageServer, token_file: Path) -> None:
    to = ("--url", served.url, "--token-file", token_file)
    result = fastws_here("publish", "rooms/one", "hello", *to)
    assert result.returncode == 0 and re.fullmatch(r"\S+:1\n", result.stdout) and not result.stderr
    result = fastws_here("publish", "rooms/one", '{"a": 1.10}', "--json", "--once", "1", *to)
    assert re.fullmatch(r"\S+:2\n", result.stdout)
    assert fastws_here("publish", "rooms/one", "again", "--once", "1", *to).stdout.endswith(":2 duplicate\n")
    assert fastws_here("publish", "plain", "x", *to).stdout == ""
    assert kept(served, "rooms/one") == ["hello", '{"a": 1.10}']
    assert fastws_here("publish", "quotes", "1", "--key", "a", *to).returncode == 0
    assert fastws_here("publish", "quotes", "2", "--key", "b", *to).returncode == 0
    assert fastws_here("publish", "quotes", "--key", "a", "--remove", *to).returncode == 0
    assert served.do(served.hub.snapshot("quotes")) == {"b": "2"}


def given(monkeypatch: pytest.MonkeyPatch, *chunks: bytes) -> None:
    """Let the standard input be these reads."""
    waiting = [*chunks, b""]
    monkeypatch.setattr(command.os, "read", lambda descriptor, size: waiting.pop(0))


@pytest.mark.live
def test_lines_of_the_input(
    fastws_here: Here, served: PageServer, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = ("--url", served.url, "--token-file", token_file)
    given(monkeypatch, b"one\r\ntw", b"o\n\nfou", b"r")
    result = fastws_here("publish", "rooms/lines", "-", "--once", "x", *to)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert kept(served, "rooms/lines") == ["one", "two", "", "four"]
    given(monkeypatch, b"one\ntwo\nthree\nfour\nfive\n")
    assert fastws_here("publish", "rooms/lines", "-", "--once", "x", *to).returncode == 0
    assert kept(served, "rooms/lines")[4:] == ["five"]


@pytest.mark.live
def test_a_line_that_is_wrong_is_named_and_those_before_it_are_published(
    fastws_here: Here, served: PageServer, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = ("--url", served.url, "--token-file", token_file)
    rows: list[tuple[bytes, list[str], str]] = [
        (b"1\n2\n{\n4\n", ["--json"], "line 3: no JSON"),
        (b"1\n2\n\xff\n4\n", [], "line 3: not UTF-8; 2 lines are published"),
        (b"1\n2\n" + b"x" * (2**20 + 1), [], "line 3: more than 1048576 bytes; 2 lines are published"),
    ]
    for number, (data, options, words) in enumerate(rows):
        given(monkeypatch, data)
        result = fastws_here("publish", f"rooms/wrong{number}", "-", *options, *to)
        assert_one_line(result, 1, words)
        assert kept(served, f"rooms/wrong{number}") == ["1", "2"]
    given(monkeypatch, b"1\n", b"2\n3\n")
    assert_one_line(
        fastws_here("publish", "quotes", "-", "--key", "k", "--once", "y" * 254, *to), 1, "'once' has"
    )


@pytest.mark.live
def test_an_interrupt_says_how_far_it_is(
    fastws_here: Here, served: PageServer, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [b"1\n2\n"]

    def read(descriptor: int, size: int) -> bytes:
        if not waiting:
            raise KeyboardInterrupt
        return waiting.pop()

    monkeypatch.setattr(command.os, "read", read)
    result = fastws_here("publish", "rooms/cut", "-", "--url", served.url, "--token-file", token_file)
    assert_one_line(result, 130, "interrupted; 2 lines are published\n")

    def interrupted(self: Publisher, items: list[Any]) -> None:
        raise KeyboardInterrupt

    given(monkeypatch, b"1\n2\n3\n")
    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "publish_many", interrupted)
        result = fastws_here("publish", "rooms/cut", "-", "--url", served.url, "--token-file", token_file)
    assert_one_line(result, 130, "interrupted; 0 lines are published, 3 may be")
    given(monkeypatch, b"1\n")
    assert_one_line(fastws_here("publish", "a/b/../c", "-", "--url", served.url), 1, "line 1: unauthorized")


@pytest.mark.live
def test_sigterm_says_how_far_it_is(
    fastws_here: Here, served: PageServer, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [b"1\n2\n"]

    def read(descriptor: int, size: int) -> bytes:
        if not waiting:
            os.kill(os.getpid(), signal.SIGTERM)
        return waiting.pop()

    monkeypatch.setattr(command.os, "read", read)
    before = signal.getsignal(signal.SIGTERM)
    to = ("--url", served.url, "--token-file", token_file)
    result = fastws_here("publish", "rooms/ended", "-", *to)
    assert_one_line(result, 143, "interrupted; 2 lines are published\n")
    assert signal.getsignal(signal.SIGTERM) is before
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        monkeypatch.setattr(Publisher, "publish", lambda *_, **__: signal.raise_signal(number))  # noqa: B023
        result = fastws_here("publish", "rooms/ended", "3", *to)
        assert_one_line(result, code, "interrupted; the message may be published\n")


@pytest.mark.live
def test_an_input_that_is_closed_or_fails_is_one_line(
    fastws_here: Here, served: PageServer, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [b"1\n2\n"]

    def read(descriptor: int, size: int) -> bytes:
        if not waiting:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return waiting.pop()

    monkeypatch.setattr(command.os, "read", read)
    to = ("--url", served.url, "--token-file", token_file)
    for words in ("Bad file descriptor; 2 lines are published", "Bad file descriptor; 0 lines are published"):
        assert_one_line(fastws_here("publish", "rooms/closed", "-", *to), 1, f"cannot be read: {words}")


@pytest.mark.live
def test_a_server_that_is_not_there_or_refuses(fastws_here: Here, served: PageServer, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:1"
    assert_one_line(fastws_here("publish", "a", "x", "--url", nobody), 1, "connection: ")
    assert_one_line(fastws_here("publish", "a", "x", "--url", served.url), 1, "unauthorized: ")
    missing = f"unix:{tmp_path}/missing"
    assert_one_line(fastws_here("publish", "a", "x", "--url", missing), 1, "No such file or directory")


def test_mistakes_are_one_line(fastws_here: Here, tmp_path: Path) -> None:
    empty, letters = tmp_path / "empty", tmp_path / "letters"
    empty.write_text("# nothing\n")
    letters.write_text("ü\n")
    url = ("--url", "http://127.0.0.1:1")
    rows: list[tuple[list[Any], int, str]] = [
        (["a", "x"], 2, "say where, by --url or FASTWS_PUBLISH_URL"),
        (["a", *url], 2, "give a MESSAGE, or -"),
        (["a", "--remove", *url], 2, "--remove needs --key"),
        (["a", "x", "--remove", "--key", "k", *url], 2, "goes without a message"),
        (["a", "x", "--url", "ftp://h"], 2, "is no URL to publish to"),
        (["a", "x", "--token-file", tmp_path / "missing", *url], 3, "missing: No such file"),
        (["a", "x", "--token-file", empty, *url], 3, "there is no token in it"),
        (["a", "x", "--token-file", letters, *url], 3, "it is not ASCII"),
        (["a", "{", "--json", *url], 1, "no JSON"),
        (["a", "x", "--ssl-ca-certs", empty, "--url", "https://h"], 3, "no PEM certificate"),
    ]
    for args, code, words in rows:
        assert_one_line(fastws_here("publish", *args), code, words)


def test_where_a_failure_in_the_middle_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = command.Progress()
    progress.add(100)
    error = PublishError(
        "uncertain", "no answer", None, dict.fromkeys(range(10, 20), ("uncertain", "no answer"))
    )
    assert command.stopped(progress, error) == 1
    words = "line 111: uncertain: no answer; 110 lines are published, 10 may be\n"
    assert capsys.readouterr().err == f"fastws publish: {words}"


def test_progress_is_told_every_few_seconds_or_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [100.0, 101.0, 104.9, 105.0, 106.0, 106.0]
    monkeypatch.setattr(command.time, "monotonic", lambda: times.pop(0))
    progress = command.Progress()
    for _ in range(4):
        progress.add(1000)
    progress.end()
    assert capsys.readouterr().err == "3,000 messages, 600 a second\n4,000 messages, 667 a second\n"
    monkeypatch.setattr(command.sys.stderr, "isatty", lambda: True)
    times = [100.0, 101.0, 101.0]
    progress = command.Progress()
    progress.add(1000)
    progress.end()
    line = "\r\x1b[K1,000 messages, 1,000 a second"
    assert capsys.readouterr().err == f"{line}{line}\n"


# -- serve --publish ----------------------------------------------------------------------------


def test_a_port_needs_tokens_and_tokens_a_port(fastws_here: Here, tmp_path: Path, token_file: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("short **\n")
    bad.chmod(0o600)
    rows: list[tuple[list[Any], int, str]] = [
        (["--publish", "9000"], 2, "--publish 127.0.0.1:9000 needs --publish-token-file"),
        (["--publish-token-file", token_file], 2, "--publish-token-file needs --publish"),
        (["--publish", "x", "--publish-token-file", token_file], 2, "--publish 'x' is not HOST:PORT"),
        (["--publish", "0", "--publish-token-file", tmp_path / "missing"], 3, "No such file"),
        (["--publish", "0", "--publish-token-file", bad], 3, "line 1: a token has 16 to 1024"),
        (["--publish", tmp_path / "no" / "socket"], 3, "cannot listen on unix:"),
    ]
    for args, code, words in rows:
        assert_one_line(fastws_here("serve", "--port", "0", *args), code, words)


@pytest.mark.live
def test_a_server_takes_messages_at_a_port_and_a_socket(tmp_path: Path, token_file: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    path = tmp_path / "publish.sock"
    args = ("--publish", "0", "--publish", path, "--publish-token-file", token_file)
    with running(tmp_path, "serve", "app:app", "--port", 0, *args) as child:
        url = child.line("Publishing at http").split()[2]
        assert child.line("Publishing at unix") == f"Publishing at unix:{path}"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
        for where in (url, f"unix:{path}"):
            to = ("--url", where, "--token-file", token_file)
            result = fastws("publish", "rooms/a", "-", "--json", *to, stdin="1\n2\n")
            assert (result.returncode, result.stderr) == (0, "")
        result = fastws("publish", "rooms/a", "x", FASTWS_PUBLISH_URL=url, FASTWS_TOKEN_FILE=str(token_file))
        assert result.stdout.endswith(":5\n")
        assert child.stop() == 0
        assert "Traceback" not in child.stderr() and not path.exists()


@pytest.mark.live
def test_a_socket_without_tokens_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "publish.sock"
    with running(tmp_path, "serve", "--port", 0, "--publish", path, "--publish-hub", "none") as child:
        child.line("Publishing at unix")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        result = fastws("publish", "a", "x", "--url", f"unix:{path}")
        assert_one_line(result, 1, "unavailable: this server has no hub called 'none'")
        assert child.stop() == 0
        assert "there are ['fastws.broadcast', 'fastws.bullets', 'fastws.chat'" in child.stderr()


@pytest.mark.live
@pytest.mark.system
def test_any_worker_takes_messages_and_all_have_them(tmp_path: Path, token_file: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    args = ("--workers", 2, "--publish", 0, "--publish-token-file", token_file)
    with running(tmp_path, "serve", "app:app", "--port", 0, *args) as child:
        url = child.line("Publishing at http").split()[2]
        for is_again in (False, True):
            for number in range(1, 17):  # a connection each, so that both workers have some
                with Publisher(url, token=ALL) as publisher:
                    done = publisher.publish("rooms/a", "x", once=str(number))
                assert done is not None and (done.at.offset, done.duplicate) == (number, is_again)
        to = ("--url", url, "--token-file", token_file)
        lines = "".join(f"{n}\n" for n in range(5000))
        assert fastws("publish", "rooms/a", "-", *to, stdin=lines).returncode == 0
        assert fastws("publish", "rooms/a", "x", *to).stdout.endswith(":5017\n")
        assert child.stop() == 0
        assert "Traceback" not in child.stderr()
