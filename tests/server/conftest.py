"""Certificates for the tests of TLS."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate of it that serves both sides, and one that nobody knows."""
    folder = tmp_path_factory.mktemp("mutual")
    now = datetime.datetime.now(datetime.UTC)

    def certificate(names: list[tuple[Any, str]], issuer: Any, by: Any, key: Any, *, ca: bool) -> Any:
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(by, hashes.SHA256())
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate([(NameOID.COMMON_NAME, "test authority")], None, ca_key, ca_key, ca=True)
    names = [(NameOID.ORGANIZATION_NAME, "Ann, Bob"), (NameOID.COMMON_NAME, "ann")]
    own = certificate(names, authority.subject, ca_key, key, ca=False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "own.pem").write_bytes(own.public_bytes(pem) + private)
    alone = certificate([(NameOID.COMMON_NAME, "stranger")], None, key, key, ca=False)
    (folder / "stranger.pem").write_bytes(alone.public_bytes(pem) + private)
    return folder
