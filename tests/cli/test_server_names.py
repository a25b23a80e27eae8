"""Which of several certificates a server name gets."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from fastws.cli.server_names import NamedContext, ServerNames, conflicts, names_in_pem, normal

FIRST, EXACT, WILDCARD, PARENT, ADDRESS, UMLAUT = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(6))
NAMES = ServerNames(
    [
        NamedContext(FIRST, ["first.test"]),
        NamedContext(WILDCARD, ["*.example.com"]),
        NamedContext(EXACT, ["www.example.com"]),
        NamedContext(PARENT, ["example.com", "first.test"]),
        NamedContext(ADDRESS, ["127.0.0.1", "2001:db8::1", "*.0.0.2"]),
        NamedContext(UMLAUT, ["xn--bcher-kva.test", "w*.partial.test"]),
    ]
)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        (None, FIRST),
        ("", FIRST),
        (".", FIRST),
        ("first.test", FIRST),  # the earlier one of two
        ("other.test", FIRST),
        ("www.example.com", EXACT),
        ("WWW.Example.COM", EXACT),
        ("www.example.com.", EXACT),
        ("a.example.com", WILDCARD),
        ("A.EXAMPLE.com.", WILDCARD),
        ("xn--bcher-kva.example.com", WILDCARD),
        ("a.b.example.com", FIRST),  # a wildcard stands for one label
        (".example.com", FIRST),
        ("*.example.com", WILDCARD),
        ("example.com", PARENT),
        ("com", FIRST),
        ("notexample.com", FIRST),
        ("127.0.0.1", ADDRESS),
        ("2001:DB8:0::1", ADDRESS),
        ("xn--bcher-kva.test", UMLAUT),
        ("XN--BCHER-KVA.test", UMLAUT),
        ("ww.partial.test", FIRST),  # RFC 9525, section 6.3: a wildcard is a whole label
    ],
)
def test_a_name_gets_its_certificate(name: str | None, context: ssl.SSLContext) -> None:
    assert NAMES.find(name) is context


def test_the_names_of_a_certificate(tmp_path: Path) -> None:
    hosts = ["Example.com", "*.example.com", "b\u00fccher.test", "127.0.0.1", "::1", "example.com."]
    issue(ensure_authority(tmp_path), tmp_path, [subject_name(host) for host in hosts], 1)
    pem = (tmp_path / "server.pem").read_bytes()
    expected = ["example.com", "*.example.com", "xn--bcher-kva.test", "127.0.0.1", "::1"]
    assert names_in_pem(pem) == expected
    assert names_in_pem((tmp_path / "server-key.pem").read_bytes() + pem) == expected
    assert normal("EXAMPLE.com.") == "example.com"


@pytest.mark.parametrize("name", ["Old.test", ""])
def test_a_certificate_without_alternative_names_is_for_its_common_name(name: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else []
    made = ensure_authority(tmp_path).certificate
    certificate = (
        x509.CertificateBuilder(x509.Name(attributes), x509.Name(attributes), key.public_key())
        .serial_number(1)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    assert names_in_pem(certificate.public_bytes(serialization.Encoding.PEM)) == [name.lower()][: len(name)]


def test_two_certificates_for_one_name_are_told() -> None:
    entries = [
        NamedContext(FIRST, ["a.test", "b.test"]),
        NamedContext(EXACT, ["b.test", "c.test", "a.test"]),
        NamedContext(PARENT, []),
        NamedContext(ADDRESS, ["d.test"]),
    ]
    assert conflicts(["1.pem", "2.pem", "3.pem", "4.pem"], entries) == [
        "2.pem and 1.pem are both for b.test, a.test: clients get 1.pem",
        "3.pem names no host: no client gets it",
    ]
    assert conflicts(["1.pem"], [NamedContext(FIRST)]) == []
