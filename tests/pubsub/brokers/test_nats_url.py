"""URLs of NATS servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("nats")

from fastws.pubsub.brokers.nats.url import Server, Servers
from tests.kit.nats_users import credentials
from tests.live.servers import make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


GOOD: dict[str, list[Server]] = {
    "nats://a": [Server("a", 4222, is_tls=False)],
    "nats://a:1": [Server("a", 1, is_tls=False)],
    "tls://a": [Server("a", 4222, is_tls=True)],
    "nats://[::1]:7": [Server("::1", 7, is_tls=False)],
    "nats://me:s%40crt@a": [Server("a", 4222, is_tls=False, user="me", password="s@crt")],
    "nats://token@a": [Server("a", 4222, is_tls=False, user="token")],
    "nats://a:1,nats://b:2": [Server("a", 1, is_tls=False), Server("b", 2, is_tls=False)],
    "tls://me:x@a,b:2": [
        Server("a", 4222, is_tls=True, user="me", password="x"),
        Server("b", 2, is_tls=True, user="me", password="x"),
    ],
    "nats://a/?prefix=chat&replicas=3": [Server("a", 4222, is_tls=False)],
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_names_servers(url: str) -> None:
    assert Servers(url).all == GOOD[url]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("nats://", "a NATS URL is"),
        ("nats://a:port", "a NATS URL is"),
        ("nats://a:70000", "a NATS URL is"),
        ("http://a", "a NATS URL is"),
        ("nats://a/what", "a NATS URL is"),
        ("nats://a?secret=x", "no parameter 'secret'"),
        ("nats://a?prefix=a.b", "prefix="),
        ("nats://a?prefix=", "prefix="),
        ("nats://a?replicas=7", "replicas="),
        ("nats://a?creds=/no/such/file", "creds=/no/such/file: No such file"),
        ("tls://a?ca=/no/such/file", "ca=/no/such/file: No such file"),
        (f"tls://a?ca={__file__}", "test_nats_url.py: "),
        (f"tls://a?cert={__file__}", "test_nats_url.py: "),
        (f"tls://a?key={__file__}", "key= needs cert="),
    ],
)
def test_what_is_none_is_refused_in_one_line(url: str, text: str) -> None:
    with pytest.raises(ValueError, match="^[^\n]*$") as failed:
        Servers(url)
    assert text in str(failed.value)


def test_labels_have_no_secret() -> None:
    servers = Servers("nats://me:secret@a:1,tls://token@[::1]")
    assert servers.label == "nats://a:1,tls://[::1]:4222"
    assert "secret" not in repr(servers.all) and "token" not in repr(servers.all)


def test_what_nats_py_is_told(tmp_path: Path) -> None:
    pytest.importorskip("nkeys")
    (tmp_path / "creds").write_text(credentials())
    servers = Servers(f"nats://me:secret@a,nats://token@b,nats://c?creds={tmp_path}/creds&prefix=chat")
    creds = {"user_credentials": f"{tmp_path}/creds"}
    assert servers.options(servers.all[0]) == {"user": "me", "password": "secret"} | creds
    assert servers.options(servers.all[1]) == {"token": "token"} | creds
    assert servers.prefix == "chat" and servers.replicas == 1
    told = Servers("tls://a").options(Server("a", 1, is_tls=True))
    assert set(told) == {"tls", "tls_hostname"} and told["tls_hostname"] == "a"


def test_files_for_tls_hold_where_only_the_server_asks_for_it(certificates: Path) -> None:
    files = f"cert={certificates}/server.pem&key={certificates}/server-key.pem"
    for query in (f"ca={certificates}/ca.pem", files):
        servers = Servers(f"nats://a?{query}")
        told = servers.options(servers.all[0])
        assert set(told) == {"tls", "tls_hostname"} and told["tls_hostname"] == "a"
    assert Servers("nats://a").options(Server("a", 1, is_tls=False)) == {}


@pytest.mark.parametrize("how", ["empty", "half", "no seed", "another key", "nonsense"])
def test_credentials_that_are_none_are_refused_without_their_secret(tmp_path: Path, how: str) -> None:
    pytest.importorskip("nkeys")
    text = credentials()
    seed = text.partition("SEED-----\n")[2].partition("\n")[0]
    found = {
        "empty": "",
        "half": text[: len(text) // 2],
        "no seed": text.replace(seed, ""),
        "another key": text.replace(seed, "SU" + "A" * (len(seed) - 30)),
        "nonsense": "\0\xff nonsense\n",
    }[how]
    (tmp_path / "creds").write_text(found)
    with pytest.raises(ValueError, match="creds=.*: this is no file of credentials") as failed:
        Servers(f"nats://a?creds={tmp_path}/creds")
    assert seed not in str(failed.value) and failed.value.__cause__ is None


def test_credentials_say_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "creds").write_text("x")
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ImportError, match=r"creds= needs nkeys: pip install 'fastws-server\[nats\]'"):
        Servers(f"nats://a?creds={tmp_path}/creds")
