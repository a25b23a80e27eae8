"""Where to listen: the notation, the sockets, and every way in which they cannot be had."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fastws.cli import listeners
from fastws.cli.errors import CannotStart
from fastws.cli.listeners import (
    FDAddress,
    ListenAddress,
    Listener,
    TCPAddress,
    UnixAddress,
    open_listeners,
    parse_address,
)
from tests.kit.ports import free_port

IPV6 = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6")


@pytest.fixture
def listening() -> Iterator[list[Listener]]:
    """Listeners put in here are closed at the end."""
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        for sock in listener.sockets:
            sock.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", TCPAddress("127.0.0.1", 8080)),
        ("localhost:0", TCPAddress("localhost", 0)),
        (":80", TCPAddress("", 80)),
        ("[::1]:8080", TCPAddress("::1", 8080)),
        ("unix:/run/fastws.sock", UnixAddress("/run/fastws.sock")),
        ("unix:fastws.sock", UnixAddress("fastws.sock")),
        ("fd://3", FDAddress(3)),
    ],
)
def test_an_address_reads_as_it_is_written(text: str, address: ListenAddress) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "localhost",
        "localhost:",
        "localhost:http",
        "::1:8080",
        "unix:",
        "fd://",
        "fd://x",
        "a:65536",
        "a:\u0663",
    ],
)
def test_what_is_no_bind_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--bind"):
        parse_address(text)


def test_port_0_becomes_a_real_port_in_the_address(listening: list[Listener]) -> None:
    listening += open_listeners([TCPAddress("127.0.0.1", 0)], 5)
    port = listening[0].sockets[0].getsockname()[1]
    assert port != 0
    assert listening[0].url("http") == f"http://127.0.0.1:{port}"
    socket.create_connection(("127.0.0.1", port), 1).close()


def test_all_addresses_of_a_name_share_one_port(listening: list[Listener]) -> None:
    listening += open_listeners([TCPAddress("localhost", 0)], 5)
    ports = {sock.getsockname()[1] for sock in listening[0].sockets}
    assert len(ports) == 1
    assert listening[0].url("https") == f"https://localhost:{ports.pop()}"


@pytest.mark.parametrize(
    ("host", "note"),
    [
        ("0.0.0.0", "http://127.0.0.1:{} (on every IPv4 address)"),
        ("", "http://127.0.0.1:{} (on every address)"),
    ],
)
def test_the_address_of_a_wildcard_can_be_opened(host: str, note: str, listening: list[Listener]) -> None:
    listening += open_listeners([TCPAddress(host, 0)], 5)
    assert listening[0].url("http") == note.format(listening[0].sockets[0].getsockname()[1])


@pytest.mark.skipif(not IPV6, reason="this machine has no IPv6")
def test_ipv6_addresses_stand_in_brackets(listening: list[Listener]) -> None:
    listening += open_listeners([TCPAddress("::1", 0), TCPAddress("::", 0)], 5)
    ports = [listener.sockets[0].getsockname()[1] for listener in listening]
    assert listening[0].url("http") == f"http://[::1]:{ports[0]}"
    assert listening[1].url("http") == f"http://[::1]:{ports[1]} (on every IPv6 address)"


@pytest.mark.skipif(not IPV6, reason="no IPv6 here")
def test_a_dual_stack_socket_of_a_parent_is_at_every_address() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        port = sock.getsockname()[1]
        listener = Listener(FDAddress(sock.fileno()), [sock])
        assert listener.url("http") == f"http://127.0.0.1:{port} (on every address)"


def test_a_busy_port_is_named_and_nothing_stays_open(listening: list[Listener]) -> None:
    listening += open_listeners([TCPAddress("127.0.0.1", 0)], 5)
    port = listening[0].sockets[0].getsockname()[1]
    other = free_port()
    with pytest.raises(CannotStart, match=f"127.0.0.1:{port}: it is in use"):
        open_listeners([TCPAddress("127.0.0.1", other), TCPAddress("127.0.0.1", port)], 5)
    listening += open_listeners([TCPAddress("127.0.0.1", other)], 5)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (TCPAddress("no-such-host.invalid", 80), "no such host"),
        (TCPAddress("203.0.113.7", 0), "this machine has no such address"),
        (FDAddress(987), "Bad file descriptor"),
        (UnixAddress("/no/such/folder/sock"), "No such file or directory"),
        (UnixAddress("/" + "x" * 200), "AF_UNIX path too long"),
    ],
)
def test_what_cannot_be_listened_on_says_why(address: ListenAddress, why: str) -> None:
    with pytest.raises(CannotStart, match=why):
        open_listeners([address], 5)


def test_a_port_without_permission_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listeners, "listen_tcp", forbidden)
    with pytest.raises(CannotStart, match="ports below 1024 usually need root"):
        open_listeners([TCPAddress("127.0.0.1", 80)], 5)


def test_an_address_that_is_missing_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, listening: list[Listener]
) -> None:
    """localhost resolves to ::1 also where there is no IPv6."""
    infos = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.7", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: infos)
    listening += open_listeners([TCPAddress("localhost", 0)], 5)
    assert [sock.getsockname()[0] for sock in listening[0].sockets] == ["127.0.0.1"]


def test_a_unix_socket_is_taken_over_from_the_dead_alone(tmp_path: Path, listening: list[Listener]) -> None:
    path = str(tmp_path / "sock")
    listening += open_listeners([UnixAddress(path)], 5)
    assert listening[0].url("http") == f"unix:{path}"
    with pytest.raises(CannotStart, match="in use by another program"):
        open_listeners([UnixAddress(path)], 5)
    listening.pop().sockets[0].close()
    listening += open_listeners([UnixAddress(path)], 5)
    assert stat.S_ISSOCK(os.stat(path).st_mode)


def test_a_plain_file_in_the_place_of_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotStart, match="there is a file that is no socket"):
        open_listeners([UnixAddress(str(path))], 5)
    assert path.read_text() == "data"


def test_an_inherited_descriptor_is_copied_not_taken(listening: list[Listener]) -> None:
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        listening += open_listeners([FDAddress(theirs.fileno())], 5)
        port = theirs.getsockname()[1]
        assert listening[0].url("http") == f"http://127.0.0.1:{port}"
        listening.pop().sockets[0].close()
        assert theirs.getsockname()[1] == port


def test_an_inherited_unix_socket_shows_its_path(tmp_path: Path, listening: list[Listener]) -> None:
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "s"))
        listening += open_listeners([FDAddress(theirs.fileno())], 5)
        assert listening[0].url("http") == f"unix:{tmp_path / 's'}"


def test_a_descriptor_of_another_kind_is_refused() -> None:
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with datagram, pytest.raises(CannotStart, match="not a stream socket"):
        open_listeners([FDAddress(datagram.fileno())], 5)
    with open(os.devnull) as file, pytest.raises(CannotStart, match="Socket operation on non-socket"):
        open_listeners([FDAddress(file.fileno())], 5)
