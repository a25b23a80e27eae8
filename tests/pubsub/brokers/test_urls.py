"""What names a broker, and what the log may show of it."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from fastws import Hub
from fastws.pubsub.brokers.base import name_of, names_in, other_settings
from fastws.pubsub.brokers.outbox import Outbox
from fastws.pubsub.brokers.redacting import redacted
from fastws.pubsub.brokers.urls import broker_at, broker_in_environment, check_broker

SECRETS = {
    "redis://u:p@h:1/0": "redis://***@h:1/0",
    "redis://:p%40@h": "redis://***@h",
    "redis+sentinel://u:p@a:1,b:2/m?sentinel_password=x&db=1": "redis+sentinel://***@a:1,b:2/m?sentinel_password=***&db=1",
    "rediss://h?ssl_keyfile=/k&ssl_ca_certs=/c": "rediss://h?ssl_keyfile=***&ssl_ca_certs=/c",
    "nats://t0ken@h,nats://u:p@i": "nats://***@h,nats://***@i",
    "nats://h?creds=/x": "nats://h?creds=***",
    "redis://h": "redis://h",
    "redis://h?sentinel_username=me@corp&db=1": "redis://h?sentinel_username=me@corp&db=1",
    "redis://h?password=a/b@c?d#e&db=1": "redis://h?password=***&db=1",
    "redis://h?password=a&b@c": "redis://***@",
    "redis+unix:///run/a@b.sock": "redis+unix:///run/a@b.sock",
    "redis+unix://:hush@/run/redis.sock?db=1": "redis+unix://***@/run/redis.sock?db=1",
    "Redis://:hush@h": "Redis://***@h",
    "redis://:hush@[::1]:1/0": "redis://***@[::1]:1/0",
    "tls://me:hush@a,b:2?prefix=x": "tls://***@a,b:2?prefix=x",
    "nats://a?prefix=x,nats://u:hush@b": "nats://a?prefix=x,nats://***@b",
}
#: What a password may begin with, and what may stand before it.
CUT = ["a/", "a#", "a?", "12/", "12#", "12?", "/", "?a=", "a@", "a,", "//", "a://", " ", "[a]", "a?password="]
BEFORE = [
    "redis://:",
    "rediss://me:",
    "redis+sentinel://:",
    "redis+unix://:",
    "tls://me:",
    "nats://a,nats://:",
    "redis:/:",
    "redis//:",
    "redis:",
    ":",
    "me:",
    "",
    " redis://:",
    "'redis://:",
    "redis+sentinal://me:",
]


@pytest.mark.parametrize("url", SECRETS)
def test_no_secret_is_shown(url: str) -> None:
    assert redacted(url) == SECRETS[url]


@pytest.mark.parametrize("cut", CUT)
def test_a_password_that_is_not_encoded_is_hidden_too(cut: str) -> None:
    for before, host in itertools.product(BEFORE, ("h.example:1", "h/0", "h:1,i:2/main")):
        url = f"{before}{cut}hush@{host}"
        assert "hush" not in redacted(url), url
        # What looks like a parameter may be one, and end behind the last "@".
        assert redacted(url).endswith("***@" if "password" in cut else f"***@{host}"), url
        try:
            check_broker(url)
            broker_at(url)
        except ValueError as error:
            assert "hush" not in str(error), url


@pytest.mark.parametrize("scheme", ["redis", "rediss+cluster", "redis+sentinel", "redis+unix", "nats", "tls"])
def test_what_to_do_is_told(scheme: str) -> None:
    for cut in ("a/", "a#", "a?", "12/", "/", "//", "a?password="):
        with pytest.raises(ValueError, match="has to be percent-encoded: %2F"):
            Hub(broker=f"{scheme}://:{cut}hush@h")


def test_a_token_with_a_comma_is_no_host() -> None:
    with pytest.raises(ValueError, match="percent-encoded"):
        broker_at("nats://hu,hush@h")


@pytest.mark.parametrize(
    "topic", ["a", "a/b", "a.b", "~*>", "ü €", "\0kicks", "x" * 300, "%41", "", "\ud800"]
)
def test_any_text_has_a_name(topic: str) -> None:
    name = name_of("my hub", topic)
    assert names_in(name) == ("my hub", topic)
    assert name.isascii() and not set(name) & set(" .*>~{}:") and name.count("/") == 1


@pytest.mark.parametrize("name", ["", "x", "a/b/c", "a/b.c", "a/%2f", "a/%zz"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a topic"):
        names_in(name)


@pytest.mark.parametrize(
    ("theirs", "text"),
    [
        (b'{"history":2,"ttl":2.5}', "history=2 there, and history=1 here"),
        (b'{"history":2,"ttl":3.5}', "history=2, ttl=3.5 there, and history=1, ttl=2.5 here"),
        (b'{"ttl":2.5}', "others there, and history=1 here"),
        (b'{"ttl":2.5,"history":1}', "others there, and others here"),
    ],
)
def test_both_settings_are_told_where_they_differ(theirs: bytes, text: str) -> None:
    error = other_settings(b'{"history":1,"ttl":2.5}', theirs)
    assert str(error) == f"another node uses it with other settings: {text}"


@pytest.mark.parametrize("text", ["memory", "bus:/x", "redis://h", "rediss://h", "nats://h", "tls://h"])
def test_brokers(text: str) -> None:
    check_broker(text)


def test_a_password_is_not_in_what_is_said_of_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"not 'http://\*\*\*@h'"):
        Hub(broker="http://u:p4ss@h")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://", "names no host"),
        ("redis://h:99999", "Port out of range"),
        ("redis://h/abc", "no number of a database"),
        ("redis://h?nonsense=1", "^redis://h.nonsense=1: it has no parameter 'nonsense'$"),
        ("redis+cluster://h?nonsense=1", "it has no parameter 'nonsense'"),
        ("rediss+sentinel://h/m?nonsense=1", "it has no parameter 'nonsense'"),
        ("redis+unix:///x?nonsense=1", "it has no parameter 'nonsense'"),
        ("redis://h?retry=1", "it has no parameter 'retry'"),
        ("redis://:[x]@h/0/1", "percent-encoded|no number of a database"),
        ("redis+sentinel://h", "HOST:PORT,HOST:PORT/MASTER"),
        ("redis+sentinel://h:x/m", "Port could not be cast"),
        ("redis+sentinel://,/m", "is no HOST:PORT"),
        ("rediss://h?ssl_ca_certs=/no/such", "ssl_ca_certs=/no/such: No such file"),
        (f"rediss+cluster://h?ssl_certfile={__file__}", "it is no PEM file"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_where_the_hub_is_made(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Hub("never", broker=url)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastws.pubsub.brokers.redis_broker", None)
    with pytest.raises(
        ImportError, match=r"redis:// needs redis\[hiredis\]: pip install 'fastws-server\[redis\]'"
    ):
        broker_at("redis://h")


def test_the_environment_and_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "broker"
    monkeypatch.delenv("FASTWS_BROKER", raising=False)
    monkeypatch.delenv("FASTWS_BROKER_FILE", raising=False)
    assert broker_in_environment() is None
    monkeypatch.setenv("FASTWS_BROKER_FILE", str(file))
    with pytest.raises(ValueError, match="cannot be read"):
        Hub()
    file.write_text("\n")
    with pytest.raises(ValueError, match="has no URL of a broker in its first line"):
        Hub()
    file.write_text("redis://:s3cret@h/1\nmore\n")
    assert broker_in_environment() == "redis://:s3cret@h/1"
    monkeypatch.setenv("FASTWS_BROKER", "memory")
    assert broker_in_environment() == "memory"


def test_the_oldest_is_dropped_where_too_much_waits() -> None:
    dropped: list[str] = []
    outbox = Outbox(dropped.append, max_bytes=100)
    first = outbox.add("a", b"x" * 60)
    second = outbox.add("b", b"y" * 60)
    assert dropped == ["a"] and first.is_dropped
    outbox.taken(first)  # an answer that comes too late
    assert (len(outbox), outbox.size) == (1, 60)
    large = outbox.add("c", b"z" * 200)  # one alone may be of any size
    assert dropped == ["a", "b"] and second.is_dropped
    outbox.add("d", b"")
    outbox.taken(large)
    assert [one.name for one in outbox] == ["d"]


def test_what_is_left_at_the_end_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(lambda name: None)
    outbox.end("redis://h")
    one = outbox.add("a", b"x" * 60)
    outbox.end("redis://h")
    outbox.end("redis://h")
    outbox.taken(one)
    assert caplog.messages == ["broker redis://h: 60 bytes were not taken at the end"]
    assert (len(outbox), outbox.size) == (0, 0)


def test_a_key_with_a_password_where_the_library_takes_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Older ones leave it to OpenSSL, which asks the terminal and waits for ever."""
    from fastws.pubsub.brokers import redis_places

    (tmp_path / "key").write_text(f"{'-' * 5}BEGIN ENCRYPTED PRIVATE KEY")
    (tmp_path / "open").write_text(f"{'-' * 5}BEGIN PRIVATE KEY")
    monkeypatch.setattr(redis_places, "TAKES_PASSWORD", False)
    broker_at(f"rediss://h?ssl_keyfile={tmp_path}/open")
    with pytest.raises(ValueError, match="needs a newer version of redis-py"):
        broker_at(f"rediss://h?ssl_keyfile={tmp_path}/key")
