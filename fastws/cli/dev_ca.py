"""A certificate authority for development, and the server certificates that it signs.

Nothing here prints or reads the command line. From its first byte on, only its owner can read the file of a
private key.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "AuthorityError", "Issued", "ensure_authority", "issue", "subject_name"]

#: Users trust an authority by hand, so it is valid for long. Browsers set no limit for one.
AUTHORITY_DAYS = 3650
#: A certificate is valid from an hour ago on: the clocks of two machines may differ.
CLOCK_SKEW = timedelta(hours=1)

CA_CERT, CA_KEY = "ca.pem", "ca-key.pem"
SERVER_CERT, SERVER_KEY = "server.pem", "server-key.pem"


class AuthorityError(Exception):
    """The files in the directory are no usable authority. The text says why."""


@dataclass(frozen=True)
class Authority:
    """The certificate and the key of an authority. ``created`` is False where it existed before."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    path: Path
    key_path: Path
    created: bool


@dataclass(frozen=True)
class Issued:
    """The files of a server certificate, and when it ends."""

    certfile: Path
    keyfile: Path
    expires: datetime


def subject_name(host: str) -> x509.GeneralName:
    """Make the entry that a client compares with the host it connects to. Raises `ValueError`."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return x509.IPAddress(ipaddress.ip_address(bare))
    except ValueError:
        pass
    wildcard, label = ("*.", bare[2:]) if bare.startswith("*.") else ("", bare)
    try:
        name = label.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(is_label(part) for part in labels):
        raise ValueError(f"{host!r} is neither a host name nor an IP address")
    if labels[-1].isdigit():
        raise ValueError(f"{host!r} is not an IP address")
    return x509.DNSName(wildcard + name)


def is_label(text: str) -> bool:
    """RFC 1123, section 2.1. The underscore is allowed too: names of containers may have one."""
    inner = text.replace("-", "").replace("_", "")
    return 0 < len(text) < 64 and inner.isalnum() and text.isascii() and text[0] != "-" != text[-1]


def ensure_authority(directory: Path) -> Authority:
    """Return the authority in ``directory``. Where there is none, make it.

    Raises:
        AuthorityError: The two files do not belong together, or the certificate has expired.
        OSError: A file cannot be read or written.
    """
    cert_path, key_path = directory / CA_CERT, directory / CA_KEY
    present = [path for path in (cert_path, key_path) if path.exists()]
    if len(present) == 2:
        return load_authority(cert_path, key_path)
    if present:
        missing = key_path if present == [cert_path] else cert_path
        raise AuthorityError(f"{present[0]} is there without {missing}: bring it back, or remove the first")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign_authority(key)
    write_private(key_path, key)
    write_file(cert_path, pem(certificate), 0o644)
    return Authority(certificate, key, cert_path, key_path, created=True)


def load_authority(cert_path: Path, key_path: Path) -> Authority:
    remedy = f"remove {cert_path} and {key_path} to make a new authority"
    try:
        certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise AuthorityError(f"cannot read the authority in {cert_path.parent}; {remedy}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityError(f"{key_path} is not the key of {cert_path}; {remedy}")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise AuthorityError(f"{cert_path} has ended on {certificate.not_valid_after_utc:%Y-%m-%d}; {remedy}")
    key_path.chmod(0o600)  # a copy of the directory may have made it readable for all
    return Authority(certificate, key, cert_path, key_path, created=False)


def sign_authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Make a root certificate that signs server certificates and no authorities (RFC 5280, section 4.2.1)."""
    now = datetime.now(UTC)
    # Browsers know an authority by its name, so two machines must not make the same name.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fastws development"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"fastws local authority {secrets.token_hex(4)}"),
        ]
    )
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def issue(authority: Authority, directory: Path, hosts: list[x509.GeneralName], days: int) -> Issued:
    """Write a new key and a certificate for ``hosts``. They replace existing files. Raises `OSError`."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign_server(authority, key.public_key(), hosts, days)
    issued = Issued(directory / SERVER_CERT, directory / SERVER_KEY, certificate.not_valid_after_utc)
    write_private(issued.keyfile, key)
    write_file(issued.certfile, pem(certificate), 0o644)
    return issued


def sign_server(
    authority: Authority, public: ec.EllipticCurvePublicKey, hosts: list[x509.GeneralName], days: int
) -> x509.Certificate:
    now = datetime.now(UTC)
    issuer = authority.certificate
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    common_name = str(hosts[0].value)[:64]  # RFC 5280, appendix A.1: ub-common-name
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - CLOCK_SKEW, issuer.not_valid_before_utc))
        .not_valid_after(min(now + timedelta(days=days), issuer.not_valid_after_utc))
        # RFC 9525, section 2: clients check these names and not the common name.
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )


def key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_file(path, content, 0o600)


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Put a whole file at ``path`` in one step, with ``mode`` from its first byte on.

    It is written under a new name (``O_EXCL``: there is no file or symbolic link of that name) and then
    renamed. So a link at ``path`` is replaced and not followed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
