"""``fastws serve`` with several certificates: which one a client gets, and their renewal, as processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from tests.cli.helpers import PATIENCE, fastws, get, running
from tests.workers.helpers import said, until
from tests.workers.processes import pids, wait_gone

#: Each wait has its end; many of them may come to more than a test has by default.
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

#: By folder: the names of its certificate.
HOSTS = {
    "one": ["one.test", "127.0.0.1"],
    "two": ["*.two.test", "b\u00fccher.test"],
    "three": ["three.test", "a.two.test"],
}
#: Handshakes enough that each of two workers has some: the acceptor allows a difference of 9.
HANDSHAKES = 12


def write(folder: Path, *hosts: str) -> str:
    """Write a certificate of the one authority with its key, in two files and in one; return it in PEM."""
    authority = ensure_authority(folder.parent)
    folder.mkdir(exist_ok=True)
    issue(authority, folder, [subject_name(host) for host in hosts], 1)
    pem = (folder / "server.pem").read_text()
    (folder / "both.pem").write_text(pem + (folder / "server-key.pem").read_text())
    return pem.strip()


def served(address: str, name: str | None) -> str:
    """The certificate, in PEM, that a client gets who asks for ``name``."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    parts = urlsplit(address)
    with (
        socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=name) as client,
    ):
        der = client.getpeercert(binary_form=True)
    assert der
    return ssl.DER_cert_to_PEM_cert(der).strip()


def served_to_openssl(address: str, name: str) -> str:
    """The same by another client, which sends any name as it is."""
    command = ["openssl", "s_client", "-connect", urlsplit(address).netloc, "-servername", name]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
    begin = result.stdout.index("-----BEGIN CERTIFICATE-----")
    return result.stdout[begin : result.stdout.index("-----END CERTIFICATE-----") + 25]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_name_has_its_certificate_and_each_certificate_is_renewed(tmp_path: Path, workers: int) -> None:
    made = {name: write(tmp_path / name, *hosts) for name, hosts in HOSTS.items()}
    options = ["--port", 0, "--workers", workers, "--timeout-drain", 0]
    for folder, file in (("one", "server.pem"), ("two", "both.pem"), ("three", "server.pem")):
        options += ["--ssl-certfile", tmp_path / folder / file]
    for folder in ("one", "three"):
        options += ["--ssl-keyfile", tmp_path / folder / "server-key.pem"]
    expected = {
        None: "one",
        "one.test": "one",
        "other.test": "one",
        "b.a.two.test": "one",
        "two.test": "one",
        "B.Two.test": "two",
        "b\u00fccher.test": "two",
        "a.two.test": "three",
        "THREE.test": "three",
    }
    with running(tmp_path, "serve", *options) as server:
        address = server.address()
        for name, folder in expected.items():
            assert served(address, name) == made[folder], name
        for name, folder in {"x.two.test.": "two", "127.0.0.1": "one", "A.TWO.TEST.": "three"}.items():
            assert served_to_openssl(address, name) == made[folder], name
        assert get(address, cafile=tmp_path / "ca.pem")[0] == 200

        # Files that change are read again.
        again = "the certificates have been read again"
        before, made["two"] = made["two"], write(tmp_path / "two", *HOSTS["two"], "new.test")
        until(said(server, again, workers))
        for _ in range(HANDSHAKES):
            assert served(address, "new.test") == made["two"] != before
            assert served(address, "one.test") == made["one"]

        # A file that cannot be used changes nothing, and is told once, whatever the number of workers.
        (tmp_path / "three" / "server.pem").write_text("hello")
        until(said(server, "the certificates stay as they were"))
        os.utime(tmp_path / "three" / "server.pem", (1, 1))
        write(tmp_path / "two", *HOSTS["two"])
        until(said(server, again, 2 * workers))
        for _ in range(HANDSHAKES):
            assert served(address, "three.test") == made["three"]
            assert served(address, "new.test") == made["one"]
        assert server.stderr().count("the certificates stay as they were") == 1

        # SIGHUP reads all: in one process at once, with workers by new ones.
        made["three"] = write(tmp_path / "three", *HOSTS["three"])
        until(said(server, again, 3 * workers))
        made["one"] = write(tmp_path / "one", *HOSTS["one"])
        first = pids(server, 2) if workers == 2 else []
        server.process.send_signal(signal.SIGHUP)
        until(said(server, "reload: done" if first else again, 1 if first else 4))
        for pid in first:
            wait_gone(pid)
        for _ in range(HANDSHAKES):
            assert served(address, None) == made["one"]
            assert served(address, "three.test") == made["three"]
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_need_a_certificate_whatever_name_they_ask_for(tmp_path: Path, workers: int) -> None:
    known = tmp_path / "clients.pem"
    options = ["--port", 0, "--workers", workers, "--ssl-ca-certs", known, "--ssl-cert-reqs", 2]
    for name, hosts in HOSTS.items():
        write(tmp_path / name, *hosts)
        options += ["--ssl-certfile", tmp_path / name / "both.pem"]
    ours, others = client_certificate(tmp_path), foreign(tmp_path)
    shutil.copy(tmp_path / "ca.pem", known)

    def answer(address: str, name: str, certfile: Path | None) -> bytes:
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        if certfile is not None:
            context.load_cert_chain(certfile)
        parts = urlsplit(address)
        try:
            with (
                socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE) as plain,
                context.wrap_socket(plain, server_hostname=name) as client,
            ):
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return client.recv(100)
        except ssl.SSLError as error:
            assert "certificate" in str(error).lower(), error
            return b""

    with running(tmp_path, "serve", *options) as server:
        address = server.address()
        for name in ("one.test", "a.two.test", "x.two.test"):
            assert answer(address, name, None) == b""
            assert answer(address, name, others) == b""
            assert answer(address, name, ours).startswith(b"HTTP/1.1 200 ")
        # The authorities of the clients are renewed too.
        shutil.copy(tmp_path / "foreign" / "ca.pem", known)
        until(said(server, "the certificates have been read again", workers))
        for name in ("one.test", "a.two.test", "x.two.test"):
            assert answer(address, name, ours) == b""
            assert answer(address, name, others).startswith(b"HTTP/1.1 200 ")
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()


def foreign(folder: Path) -> Path:
    """A client's certificate of an authority that nobody knows."""
    (folder / "foreign").mkdir(exist_ok=True)
    return client_certificate(folder / "foreign")


def client_certificate(folder: Path) -> Path:
    """A client's certificate of the authority in ``folder``, with its key, by openssl.

    `fastws cert` makes certificates for servers, which OpenSSL takes from no client.
    """
    both = folder / "client.pem"
    if both.exists():
        return both
    ensure_authority(folder)
    run = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run += ["-subj", "/CN=ann", "-keyout", str(folder / "c.key"), "-out", str(folder / "c.csr")]
    sign = ["openssl", "x509", "-req", "-in", str(folder / "c.csr"), "-CA", str(folder / "ca.pem")]
    sign += [
        "-CAkey",
        str(folder / "ca-key.pem"),
        "-CAcreateserial",
        "-days",
        "1",
        "-out",
        str(folder / "c.pem"),
    ]
    for command in (run, sign):
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    both.write_text((folder / "c.pem").read_text() + (folder / "c.key").read_text())
    return both


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_name_that_is_not_ascii_leaves_nothing_in_the_log(tmp_path: Path, workers: int) -> None:
    write(tmp_path / "one", "localhost", "127.0.0.1")
    options = ["--port", 0, "--workers", workers, "--ssl-certfile", tmp_path / "one" / "both.pem"]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="b_cher.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read().replace(b"b_", "\u00fc".encode())
    with running(tmp_path, "serve", *options) as server:
        parts = urlsplit(server.address())
        for _ in range(HANDSHAKES):
            with socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE) as peer:
                peer.sendall(hello)
                assert peer.recv(100)[:1] in (b"", b"\x15")  # an alert
        assert get(server.address(), cafile=tmp_path / "ca.pem")[0] == 200
        assert server.stop() == 0
    assert "ascii" not in server.stderr() and "Traceback" not in server.stderr()


@pytest.mark.parametrize("workers", [1, 2])
def test_wrong_certificates_are_one_line(tmp_path: Path, workers: int) -> None:
    for name, hosts in HOSTS.items():
        write(tmp_path / name, *hosts)
    shutil.copy(tmp_path / "two" / "server.pem", tmp_path / "two.pem")
    one, key = "one/server.pem", "one/server-key.pem"
    for certs, keys, code, text in (
        ([one, "two.pem"], [key], 2, "--ssl-keyfile is given 1 times, and 2 of the 2 certificates"),
        ([one, "two.pem"], [key, key], 3, f"the key in {key} does not belong to the certificate in two.pem"),
        ([one, "missing.pem"], [key, key], 3, "--ssl-certfile missing.pem: No such file or directory"),
        ([one, "two.pem"], [], 3, f"there is no PEM private key in {one}"),
    ):
        options = [f"--ssl-certfile={each}" for each in certs] + [f"--ssl-keyfile={each}" for each in keys]
        result = fastws("serve", "--port", 0, "--workers", workers, *options, cwd=tmp_path)
        assert (result.returncode, result.stderr.count("\n")) == (code, 1), result.stderr
        assert text in result.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_two_certificates_for_one_name_are_a_warning_and_the_first_is_served(
    tmp_path: Path, workers: int
) -> None:
    first = write(tmp_path / "one", "one.test")
    write(tmp_path / "two", "two.test", "one.test")
    files = {"FASTWS_SSL_CERTFILE": "one/server.pem:two/server.pem"}
    files["FASTWS_SSL_KEYFILE"] = "one/server-key.pem:two/server-key.pem"
    with running(tmp_path, "serve", "--port", 0, "--workers", workers, **files) as server:
        for _ in range(HANDSHAKES):
            assert served(server.address(), "one.test") == first
        assert server.stop() == 0
    line = (
        "--ssl-certfile: two/server.pem and one/server.pem are both for one.test: clients get one/server.pem"
    )
    assert server.stderr().count(line) == 1
