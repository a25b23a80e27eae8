"""A server's certificates are renewed by their files; handshakes in memory, no clock."""

from __future__ import annotations

import contextlib
import logging
import ssl
from pathlib import Path

import pytest

from fastws.cli.certificates import Certificates
from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from fastws.cli.tls import server_context


def write(folder: Path) -> None:
    issue(ensure_authority(folder), folder, [subject_name("localhost")], 1)


def made(folder: Path) -> Certificates:
    files = [str(folder / "server.pem"), str(folder / "server-key.pem")]
    return Certificates(lambda: server_context(*files, None), files)


def served(certificates: Certificates, name: str | None = None) -> str:
    """The certificate, in PEM, that a client sees."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(back, there, server_hostname=name)
    server = certificates.context.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    found = client.getpeercert(binary_form=True)
    assert found
    return ssl.DER_cert_to_PEM_cert(found)


@pytest.mark.parametrize("name", [None, "localhost"])
def test_the_next_handshake_sees_a_new_certificate(tmp_path: Path, name: str | None) -> None:
    write(tmp_path)
    certificates = made(tmp_path)
    before = served(certificates, name)
    certificates.check()
    assert served(certificates, name) == before
    write(tmp_path)
    assert served(certificates, name) == before
    certificates.check()
    after = served(certificates, name)
    assert after != before and after.strip() in (tmp_path / "server.pem").read_text()


def test_a_broken_file_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    certificates = made(tmp_path)
    before = served(certificates)
    (tmp_path / "server.pem").write_text("hello")
    with caplog.at_level(logging.INFO, "fastws.error"):
        certificates.check()
        assert not certificates.reload()
        assert served(certificates) == before
        write(tmp_path)
        certificates.check()
        assert served(certificates) != before
    told = [record.levelname for record in caplog.records]
    assert told == ["ERROR", "INFO"]
    assert "there is no PEM certificate in it" in caplog.messages[0]
