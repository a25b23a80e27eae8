"""``fastws cert``: what it writes, what it refuses, and that TLS works with it."""

from __future__ import annotations

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from fastws.cli.dev_ca import AuthorityError, ensure_authority, issue, subject_name, write_file
from fastws.cli.main import main
from tests.cli.helpers import fastws

FILES = ("ca.pem", "ca-key.pem", "server.pem", "server-key.pem")


def handshake(directory: Path, host: str) -> str | None:
    """A TLS handshake in memory, with the default (strict) checks of a client; the TLS version."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "server.pem", directory / "server-key.pem")
    client = ssl.create_default_context(cafile=directory / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ours.version()


def test_a_client_that_trusts_the_authority_accepts_every_default_host(tmp_path: Path) -> None:
    result = fastws("cert", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    for host in ("localhost", "127.0.0.1", "::1"):
        assert handshake(tmp_path / "certs", host) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(tmp_path / "certs", "example.org")


def test_it_prints_how_to_trust_and_how_to_serve(tmp_path: Path) -> None:
    shown = fastws("cert", "[::1]", "--directory", tmp_path / "my certs").stdout
    for program in ("Chrome", "Firefox", "system", "curl", "Python"):
        assert f"  {program} " in shown
    assert f"curl --cacert '{tmp_path}/my certs/ca.pem' https://[::1]:8443/" in shown
    assert (
        f"fastws serve --port 8443 --ssl-certfile '{tmp_path}/my certs/server.pem' "
        f"--ssl-keyfile '{tmp_path}/my certs/server-key.pem'\n" in shown
    )


def test_keys_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert main(["cert", "--directory", str(tmp_path / "c")]) == 0
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / "c" / name).stat().st_mode) for name in FILES}
    assert modes == {"ca.pem": 0o644, "ca-key.pem": 0o600, "server.pem": 0o644, "server-key.pem": 0o600}
    assert sorted(os.listdir(tmp_path / "c")) == [".gitignore", *sorted(FILES)]
    assert (tmp_path / "c" / ".gitignore").read_text() == "*\n"


def test_the_second_call_uses_the_authority_again(tmp_path: Path) -> None:
    fastws("cert", "--directory", tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    (tmp_path / "ca-key.pem").chmod(0o644)
    result = fastws("cert", "--directory", tmp_path, "chat.test")
    after = {name: (tmp_path / name).read_bytes() for name in FILES}
    assert "Authority (used again)" in result.stdout
    assert [name for name in FILES if before[name] == after[name]] == ["ca.pem", "ca-key.pem"]
    assert stat.S_IMODE((tmp_path / "ca-key.pem").stat().st_mode) == 0o600
    assert handshake(tmp_path, "chat.test") == "TLSv1.3"
    assert not (tmp_path / ".gitignore").exists(), "the directory was there: it is not ours"


def test_the_certificate_says_what_it_is_for(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path)
    issued = issue(authority, tmp_path, [subject_name("*.Example.test"), subject_name("10.1.2.3")], 30)
    cert = x509.load_pem_x509_certificate(issued.certfile.read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.example.test"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3"]
    assert isinstance(cert.public_key(), ec.EllipticCurvePublicKey)
    usage = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert timedelta(days=29) < issued.expires - datetime.now(UTC) <= timedelta(days=30)
    ca = authority.certificate.extensions
    assert ca.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    assert ca.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(
    ("host", "value"),
    [
        ("LocalHost", "localhost"),
        ("b\xfccher.example", "xn--bcher-kva.example"),
        ("my_container", "my_container"),
        ("host.example.", "host.example."),
        ("[::1]", "::1"),
        ("*.a.test", "*.a.test"),
    ],
)
def test_hosts_become_names_as_clients_compare_them(host: str, value: str) -> None:
    assert str(subject_name(host).value) == value


@pytest.mark.parametrize(
    "host",
    ["", "a b", "-a.test", "a-.test", "a..test", "https://a.test", "a.test:80", "*", "a.*.test", "x" * 64]
    + ["999.1.1.1", "1.2.3.4/8", ".".join(["abcdefgh"] * 32)],
)
def test_what_is_no_host_is_a_usage_error(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cert", "--directory", str(tmp_path / "c"), "--", host]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"fastws cert: {host!r} is") and line.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_half_an_authority_is_not_overwritten(tmp_path: Path) -> None:
    fastws("cert", "--directory", tmp_path)
    key = (tmp_path / "ca-key.pem").read_bytes()
    (tmp_path / "ca.pem").unlink()
    result = fastws("cert", "--directory", tmp_path)
    assert result.returncode == 3 and result.stderr.count("\n") == 1
    assert f"ca-key.pem is there without {tmp_path}/ca.pem" in result.stderr
    assert (tmp_path / "ca-key.pem").read_bytes() == key


def test_an_authority_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path)
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    key_file = tmp_path / "ca-key.pem"

    key_file.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*pem, plain))
    with pytest.raises(AuthorityError, match=r"is not the key of .*ca\.pem; remove"):
        ensure_authority(tmp_path)
    key_file.write_bytes(rsa.generate_private_key(65537, 2048).private_bytes(*pem, plain))
    with pytest.raises(AuthorityError, match="is not the key of"):
        ensure_authority(tmp_path)
    key_file.write_bytes(authority.key.private_bytes(*pem, serialization.BestAvailableEncryption(b"x")))
    with pytest.raises(AuthorityError, match="cannot read the authority"):
        ensure_authority(tmp_path)
    key_file.write_bytes(b"nonsense")
    with pytest.raises(AuthorityError, match="cannot read the authority"):
        ensure_authority(tmp_path)


def test_an_authority_that_has_ended_is_not_used(tmp_path: Path) -> None:
    authority = ensure_authority(tmp_path)
    name, then = authority.certificate.subject, datetime.now(UTC) - timedelta(days=9)
    ended = (
        x509.CertificateBuilder(name, name, authority.key.public_key(), x509.random_serial_number())
        .not_valid_before(then)
        .not_valid_after(then + timedelta(days=1))
        .sign(authority.key, hashes.SHA256())
    )
    (tmp_path / "ca.pem").write_bytes(ended.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(AuthorityError, match="has ended on"):
        ensure_authority(tmp_path)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = fastws("cert", "--directory", tmp_path / "file" / "certs")
    assert result.returncode == 3
    assert result.stderr == f"fastws cert: cannot write to {tmp_path}/file/certs: Not a directory\n"


def test_a_link_in_the_place_of_a_key_is_replaced_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("untouched")
    (tmp_path / "server-key.pem").symlink_to(target)
    assert main(["cert", "--directory", str(tmp_path)]) == 0
    assert target.read_text() == "untouched"
    assert not (tmp_path / "server-key.pem").is_symlink()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path / "name", b"x", 0o600)
    assert os.listdir(tmp_path) == ["name"]
