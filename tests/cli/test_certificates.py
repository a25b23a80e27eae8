"""A server's certificates are renewed by their files; handshakes in memory, no clock."""

from __future__ import annotations

import contextlib
import logging
import ssl
import sys
from pathlib import Path

import pytest

from fastws.cli.certificates import Certificate, Certificates, silence_bad_server_names
from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from fastws.cli.server_names import NamedContext
from fastws.cli.tls import names_in, server_context


def write(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    issue(ensure_authority(folder), folder, [subject_name(name) for name in names or ["localhost"]], 1)


def made(*folders: Path) -> Certificates:
    found = []
    for folder in folders:
        cert, key = str(folder / "server.pem"), str(folder / "server-key.pem")
        found.append(
            Certificate(
                lambda cert=cert, key=key: NamedContext(  # type: ignore[misc]
                    server_context(cert, key, None), names_in(cert)
                ),
                [cert, key],
            )
        )
    return Certificates(found)


def looks(certificates: Certificates) -> None:
    for _ in range(3):
        certificates.check()


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
    assert served(certificates, name) == before  # its key may not be there yet
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
        looks(certificates)
        assert not certificates.reload()
        assert served(certificates) == before
        write(tmp_path)
        looks(certificates)
        assert served(certificates) != before
    told = [record.levelname for record in caplog.records]
    assert told == ["ERROR", "INFO"]
    assert "there is no PEM certificate in it" in caplog.messages[0]


def test_files_that_are_being_written_are_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    certificates = made(tmp_path)
    before = served(certificates)
    write(tmp_path / "new")
    written = [tmp_path / "new" / name for name in ("server-key.pem", "server.pem")]
    with caplog.at_level(logging.INFO, "fastws.error"):
        for path in written:
            path.replace(tmp_path / path.name)
            certificates.check()
        assert (caplog.messages, served(certificates)) == ([], before)
        certificates.check()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert served(certificates) != before


def test_each_certificate_is_renewed_by_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "one.test")
    write(two, "two.test")
    certificates = made(one, two)
    first, second = served(certificates, "one.test"), served(certificates, "two.test")
    assert first != second == served(certificates, "TWO.test.") != served(certificates, "three.test")
    (one / "server.pem").write_text("hello")
    write(two, "two.test", "three.test")
    with caplog.at_level(logging.INFO, "fastws.error"):
        looks(certificates)
        assert served(certificates, "one.test") == first == served(certificates)
        assert second != served(certificates, "two.test") == served(certificates, "three.test")
        assert not certificates.reload()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "INFO"]
    assert str(one / "server.pem") in caplog.messages[0]
    write(one, "one.test")
    assert certificates.reload()
    assert served(certificates, "one.test") not in (first, served(certificates, "two.test"))


def test_a_server_name_that_is_not_ascii_is_refused_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    silence_bad_server_names()
    write(tmp_path)
    certificates = made(tmp_path)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(back, there, server_hostname="b_cher.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    there.write(there.read().replace(b"b_", "\u00fc".encode()))
    server = certificates.context.wrap_bio(there, back, server_side=True)
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    assert capsys.readouterr().err == ""


def test_of_several_workers_the_one_that_leads_tells_of_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    certificates = made(tmp_path)
    certificates.speaks = lambda: False
    (tmp_path / "server.pem").write_text("hello")
    looks(certificates)
    assert caplog.messages == []
    certificates.speaks = lambda: True  # the leader of before is gone
    looks(certificates)
    assert len(caplog.messages) == 1
