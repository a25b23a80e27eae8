"""Makes a server's TLS context of the files that the user names."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import click

from fastws.cli.errors import CannotStart, os_error_text
from fastws.cli.server_names import names_in_pem

__all__ = ["names_in", "pairs_of", "server_context"]

#: In the first line of a private key in PEM, after its kind.
KEY_MARK = b"PRIVATE KEY-----"

#: For TLS 1.2; TLS 1.3 has its own. All have forward secrecy; none uses CBC (Lucky Thirteen) or DHE.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class NeedsPassword(Exception):
    """OpenSSL asked for the password of the key, and the user gave none."""


def server_context(
    certfile: str,
    keyfile: str | None,
    password: str | None,
    *,
    ca_certs: str | None = None,
    cert_reqs: int = ssl.CERT_NONE,
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """Make a context: TLS 1.2 or newer, ``CIPHERS``, ALPN ``http/1.1``, no renegotiation.

    ``ca_certs`` has the authorities of clients' certificates, ``cert_reqs`` says whether a client needs one,
    and ``ciphers``, in OpenSSL's words, stands in place of ``CIPHERS``.

    Raises `CannotStart` with the file and the reason.
    """
    certificates = read("--ssl-certfile", certfile)
    keys = certificates if keyfile is None else read("--ssl-keyfile", keyfile)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.set_ciphers(ciphers or CIPHERS)
    except ssl.SSLError:
        raise CannotStart(f"--ssl-ciphers {ciphers}: OpenSSL knows no such cipher") from None
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])

    def ask() -> str:
        # Without a callback OpenSSL asks at the terminal, and a service would hang.
        if password is None:
            raise NeedsPassword
        return password

    holder = keyfile or certfile
    try:
        context.load_cert_chain(certfile, keyfile, ask)
    except NeedsPassword:
        raise CannotStart(f"the key in {holder} is encrypted: give --ssl-keyfile-password") from None
    except ValueError as error:
        raise CannotStart(f"--ssl-keyfile-password: {error}") from error
    except ssl.SSLError as error:
        if b"-----BEGIN CERTIFICATE-----" not in certificates:
            raise CannotStart(f"--ssl-certfile {certfile}: there is no PEM certificate in it") from error
        raise CannotStart(explain(error, certfile, holder, keys)) from error
    if ca_certs is not None:
        authorities = read("--ssl-ca-certs", ca_certs)
        try:
            context.load_verify_locations(ca_certs)
        except ssl.SSLError as error:
            why = "is damaged" if b"-----BEGIN" in authorities else "has no PEM certificate in it"
            raise CannotStart(f"--ssl-ca-certs {ca_certs} {why}") from error
        context.verify_mode = ssl.VerifyMode(cert_reqs)
    return context


def pairs_of(certfiles: Sequence[str], keyfiles: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return each certificate's file with that of its key; None: the key is in the same file.

    Keys belong to the certificates in their order. Where there are fewer, the certificates whose files hold
    their own key are passed over.

    Raises:
        CannotStart: a certificate's file cannot be read.
        click.UsageError: there are keys, but not one for each certificate that needs one.
    """
    if not keyfiles:
        return [(certfile, None) for certfile in certfiles]
    if len(keyfiles) == len(certfiles):
        return list(zip(certfiles, keyfiles, strict=True))
    without = [each for each in certfiles if KEY_MARK not in read("--ssl-certfile", each)]
    if len(keyfiles) != len(without):
        needs = f"{len(without)} of the {len(certfiles)} certificates have no key in their own file"
        raise click.UsageError(f"--ssl-keyfile is given {len(keyfiles)} times, and {needs}")
    keys = iter(keyfiles)
    return [(each, next(keys) if each in without else None) for each in certfiles]


def names_in(certfile: str) -> list[str]:
    """Return the names of a certificate. Raises `CannotStart`."""
    try:
        return names_in_pem(read("--ssl-certfile", certfile))
    except ValueError as error:
        raise CannotStart(f"--ssl-certfile {certfile}: its names cannot be read: {error}") from error


def read(option: str, path: str) -> bytes:
    """Read a file. OpenSSL's message for a missing file does not say which of the two is missing."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CannotStart(f"{option} {path}: {os_error_text(error)}") from error


def explain(error: ssl.SSLError, certfile: str, holder: str, keys: bytes) -> str:
    """Find the reason in the files: OpenSSL says "PEM lib" for nearly all errors."""
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        return f"the key in {holder} does not belong to the certificate in {certfile}"
    if KEY_MARK not in keys:
        return f"there is no PEM private key in {holder}"
    if b"ENCRYPTED" in keys:
        return f"--ssl-keyfile-password does not open {holder}"
    return f"cannot use {certfile} with the key in {holder}: {error.reason or 'damaged'}"
