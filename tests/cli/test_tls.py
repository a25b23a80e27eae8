"""A server's TLS context from files: what it allows, and a clear line for each file that is wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

import click
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from fastws.cli.errors import CannotStart
from fastws.cli.serve import serve
from fastws.cli.tls import names_in, pairs_of, server_context
from fastws.cli.ways import make_certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good pair, the same key encrypted, a foreign key of another kind, and junk."""
    folder = tmp_path_factory.mktemp("tls")
    issue(ensure_authority(folder), folder, [subject_name("localhost")], 1)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = serialization.load_pem_private_key((folder / "server-key.pem").read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    (folder / "encrypted.pem").write_bytes(key.private_bytes(pem, pkcs8, secret))
    foreign = rsa.generate_private_key(65537, 2048)
    (folder / "rsa-key.pem").write_bytes(foreign.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    pair = (folder / "server.pem").read_bytes() + (folder / "server-key.pem").read_bytes()
    (folder / "both.pem").write_bytes(pair)
    (folder / "junk.pem").write_bytes(b"hello\n")
    (folder / "torn.pem").write_bytes((folder / "server.pem").read_bytes()[:200])
    return folder


@pytest.mark.parametrize(
    ("cert", "key", "password"),
    [
        ("server.pem", "server-key.pem", None),
        ("both.pem", None, None),
        ("server.pem", "encrypted.pem", "secret"),
    ],
)
def test_a_good_pair_makes_a_strict_context(
    files: Path, cert: str, key: str | None, password: str | None
) -> None:
    context = server_context(str(files / cert), str(files / key) if key else None, password)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert all(each["aead"] and each["kea"] in ("kx-ecdhe", "kx-any") for each in context.get_ciphers())


@pytest.mark.parametrize(
    ("cert", "key", "password", "why"),
    [
        ("missing.pem", "server-key.pem", None, r"--ssl-certfile .*missing\.pem: No such file or directory"),
        ("server.pem", "missing.pem", None, r"--ssl-keyfile .*missing\.pem: No such file or directory"),
        ("", "server-key.pem", None, "--ssl-certfile .*: Is a directory"),
        (
            "junk.pem",
            "server-key.pem",
            None,
            r"--ssl-certfile .*junk\.pem: there is no PEM certificate in it",
        ),
        ("server-key.pem", None, None, "there is no PEM certificate in it"),
        ("server.pem", None, None, r"there is no PEM private key in .*server\.pem"),
        ("server.pem", "junk.pem", None, r"there is no PEM private key in .*junk\.pem"),
        ("server.pem", "ca-key.pem", None, r"the key in .*ca-key\.pem does not belong to the certificate in"),
        ("server.pem", "rsa-key.pem", None, r"the key in .*rsa-key\.pem does not belong to the certificate"),
        ("server.pem", "encrypted.pem", None, r"encrypted\.pem is encrypted: give --ssl-keyfile-password"),
        ("server.pem", "encrypted.pem", "wrong", r"--ssl-keyfile-password does not open .*encrypted\.pem"),
        ("server.pem", "encrypted.pem", "x" * 2000, "--ssl-keyfile-password: password cannot be longer"),
        ("torn.pem", "server-key.pem", None, r"cannot use .*torn\.pem with the key in .*: damaged"),
    ],
)
def test_each_file_that_is_wrong_has_its_own_line(
    files: Path, cert: str, key: str | None, password: str | None, why: str
) -> None:
    with pytest.raises(CannotStart, match=why):
        server_context(str(files / cert), str(files / key) if key else None, password)


def test_clients_may_need_a_certificate(files: Path) -> None:
    pair, ca = str(files / "both.pem"), str(files / "ca.pem")
    assert server_context(pair, None, None).verify_mode is ssl.CERT_NONE
    for reqs in (ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED):
        context = server_context(pair, None, None, ca_certs=ca, cert_reqs=reqs)
        assert context.verify_mode is reqs
        assert len(context.get_ca_certs()) == 1


def test_other_ciphers(files: Path) -> None:
    context = server_context(str(files / "both.pem"), None, None, ciphers="ECDHE+CHACHA20")
    names = {each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"}
    assert names and all("CHACHA20" in name for name in names)
    with pytest.raises(CannotStart, match="--ssl-ciphers nonsense"):
        server_context(str(files / "both.pem"), None, None, ciphers="nonsense")


@pytest.mark.parametrize(
    ("name", "why"),
    [("missing.pem", "No such file"), ("junk.pem", "no PEM certificate"), ("torn.pem", "damaged")],
)
def test_authorities_that_are_none(files: Path, name: str, why: str) -> None:
    with pytest.raises(CannotStart, match=f"--ssl-ca-certs .*{name}.*{why}"):
        server_context(str(files / "both.pem"), None, None, ca_certs=str(files / name), cert_reqs=2)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--ssl-ca-certs", "ca.pem"], "--ssl-ca-certs needs --ssl-certfile"),
        (["--ssl-cert-reqs", "2"], "--ssl-cert-reqs needs --ssl-certfile"),
        (["--ssl-ciphers", "HIGH"], "--ssl-ciphers needs --ssl-certfile"),
        (["--ssl-certfile", "x", "--ssl-cert-reqs", "1"], "--ssl-cert-reqs needs --ssl-ca-certs"),
        (["--ssl-certfile", "x", "--ssl-ca-certs", "ca.pem"], "checks no client without --ssl-cert-reqs"),
    ],
)
def test_options_that_need_each_other(options: list[str], why: str) -> None:
    context = serve.make_context("serve", options)
    with pytest.raises(click.UsageError, match=why):
        make_certificates(context.params)


def test_keys_belong_to_the_certificates_in_their_order(files: Path) -> None:
    alone, both, key = (str(files / name) for name in ("server.pem", "both.pem", "server-key.pem"))
    assert pairs_of([both, both], []) == [(both, None), (both, None)]
    assert pairs_of([alone, both], [key, "x"]) == [(alone, key), (both, "x")]
    assert pairs_of([both, alone, both], [key]) == [(both, None), (alone, key), (both, None)]


@pytest.mark.parametrize(
    ("certs", "keys", "why"),
    [
        (["server.pem", "server.pem"], ["k"], "given 1 times, and 2 of the 2 certificates have no key"),
        (["both.pem", "server.pem"], ["k"] * 3, "given 3 times, and 1 of the 2"),
        (["both.pem"], ["k"] * 2, "given 2 times, and 0 of the 1"),
    ],
)
def test_there_is_a_key_for_each_certificate_that_needs_one(
    files: Path, certs: list[str], keys: list[str], why: str
) -> None:
    with pytest.raises(click.UsageError, match=why):
        pairs_of([str(files / name) for name in certs], keys)


def test_files_that_cannot_be_read_are_told(files: Path) -> None:
    with pytest.raises(CannotStart, match=r"missing\.pem: No such file"):
        pairs_of([str(files / "missing.pem"), str(files / "both.pem")], ["k"])
    with pytest.raises(CannotStart, match=r"junk\.pem: its names cannot be read"):
        names_in(str(files / "junk.pem"))
