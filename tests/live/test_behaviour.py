"""What the tutorial's programs do, item by item, checked by clients that were not written here.

``TABLE`` is the whole of it: what is said, and which tests look. The pages are driven by a real
browser in ``tests/browser``. Times are the built-in ones where the clock does not matter, and
shortened (``apps.py``) where a test has to wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import websockets.utils

from fastws.apps import chat
from tests.cli.helpers import environment
from tests.live import raw
from tests.live.foreign import Closed, Foreign, ForeignPeer, Refused, ending
from tests.live.foreign_servers import SERVERS, open_server
from tests.live.process import eventually, open_files
from tests.live.raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_frame, frame
from tests.live.servers import Servers, Site

pytestmark = [pytest.mark.live, pytest.mark.foreign]

START_PAGE = "tests/browser/test_start_page.py"
CHAT_PAGE = "tests/browser/test_chat_page.py"

#: (item, in our words, the tests that look). A name with a path is in that file.
TABLE: list[tuple[str, str, list[str]]] = [
    # What the tutorial builds
    (
        "tutorial 1",
        "/ is a page, and its response names the server in X-Server; /wsecho echoes and logs what came.",
        ["test_the_pages_and_their_header", "test_echo_keeps_type_and_bytes", "test_the_echo_is_logged"],
    ),
    (
        "tutorial 2",
        "The page greets with Hello Server!, and shows each message, an error and the close.",
        [
            f"{START_PAGE}::test_hello_server_comes_back",
            f"{START_PAGE}::test_the_close_and_an_error_are_shown_and_one_can_come_back",
        ],
    ),
    (
        "tutorial 3",
        "A browser or a client in the terminal will do.",
        [f"{START_PAGE}::test_a_person_types_and_the_server_answers", "test_the_client_sends_the_time"],
    ),
    (
        "tutorial 4",
        "A chat room whose hub lets clients in and out and tells everybody, with 256 places for each.",
        ["test_everybody_hears_everybody_in_one_order", "test_who_does_not_read_is_evicted"],
    ),
    (
        "tutorial 5",
        "The same over https and wss, from a certificate of a local authority that a person can trust.",
        ["test_the_same_over_tls"],
    ),
    # Echo server
    (
        "echo server 1",
        "A message comes back in its type, byte for byte; fragments come back as one; empty ones too.",
        ["test_echo_keeps_type_and_bytes"],
    ),
    (
        "echo server 2",
        "A browser on another origin gets 403; without an Origin the client is let in.",
        ["test_a_foreign_origin_is_refused"],
    ),
    (
        "echo server 3",
        "A close with 1000 is answered with 1000, then TCP ends.",
        ["test_a_close_is_answered_and_tcp_ends"],
    ),
    # Echo client
    (
        "echo client 1",
        "Sends the time as text once an interval and prints what comes back.",
        ["test_the_client_sends_the_time"],
    ),
    (
        "echo client 2",
        "No connection: it says why, exit code 1. SIGINT: close 1000, at most a second's wait, exit code 0.",
        [
            "test_the_client_says_why_it_cannot_connect",
            "test_the_client_sends_the_time",
            "test_the_client_does_not_wait_for_ever",
        ],
    ),
    # Chat
    (
        "chat constants",
        "Write 10 s, pong 60 s, ping 54 s, 512 bytes a message, 256 messages in a queue.",
        ["test_the_constants_of_the_chat"],
    ),
    (
        "chat 1",
        "/chat is the page; a path nobody knows is 404, a page asked for by POST 405 with Allow.",
        ["test_the_pages_and_their_header", "test_unknown_paths_and_methods"],
    ),
    (
        "chat 2",
        "/ws upgrades. A plain GET is 426, another version 426 with ours, a foreign origin 403.",
        ["test_what_does_not_upgrade", "test_a_foreign_origin_is_refused"],
    ),
    (
        "chat 3",
        "Text or binary: newlines become spaces, the ends are trimmed, all hear it as text, the speaker too.",
        ["test_what_is_said_is_trimmed_and_goes_out_as_text", "test_binary_that_is_no_text_is_refused"],
    ),
    (
        "chat 4",
        "512 bytes pass, counted over fragments; 513 end that client with 1009, and no other.",
        ["test_512_bytes_pass_and_513_do_not"],
    ),
    (
        "chat 5",
        "All hear all in one order.",
        ["test_everybody_hears_everybody_in_one_order"],
    ),
    (
        "chat 6",
        "Nobody waits for a client: behind 256 waiting messages the next evicts it, and the others hear all.",
        ["test_who_does_not_read_is_evicted"],
    ),
    (
        "chat 7",
        "Evicted: what waits is thrown away, the frame under way ends, 1008 with a reason, TCP ends in time.",
        ["test_who_does_not_read_is_evicted", "test_who_takes_nothing_is_gone_after_the_write_wait"],
    ),
    (
        "chat 8",
        "What waits together leaves as one message with newlines between; what waits alone leaves alone.",
        ["test_what_waits_together_is_one_message"],
    ),
    (
        "chat 9",
        "A ping each interval; without its pong in time, or with a write that takes too long, the end.",
        [
            "test_who_answers_pings_stays",
            "test_who_does_not_answer_pings_is_gone",
            "test_who_takes_nothing_is_gone_after_the_write_wait",
        ],
    ),
    (
        "chat 10",
        "Leaving twice does no harm, and the room goes on when somebody has gone.",
        ["test_the_room_goes_on"],
    ),
    (
        "chat 11",
        "An unexpected close is an error in the log; 1000, 1001, 1005 and 1006 are not.",
        ["test_which_closes_are_errors_in_the_log"],
    ),
    (
        "chat 12",
        "The page: a line of text each, the end kept in view, an empty field sends nothing, the close shown.",
        [
            f"{CHAT_PAGE}::test_two_tabs_chat",
            f"{CHAT_PAGE}::test_what_the_server_joined_is_a_line_each",
            f"{CHAT_PAGE}::test_html_is_shown_as_text",
            f"{CHAT_PAGE}::test_the_log_stays_at_its_end_only_if_it_was_there",
            f"{CHAT_PAGE}::test_the_field_is_cleared_and_an_empty_one_sends_nothing",
            f"{CHAT_PAGE}::test_the_close_is_shown_when_the_server_ends",
            f"{CHAT_PAGE}::test_a_browser_without_websocket_is_told",
        ],
    ),
    # Library facts
    (
        "library 1",
        "A ping's payload comes back in a pong, a close's code in a close.",
        ["test_pings_and_closes_come_back"],
    ),
    (
        "library 2",
        "No mask, a reserved bit, an unknown opcode, a control frame too long or in parts: 1002.",
        ["test_violations_are_closed_with_their_code"],
    ),
    (
        "library 3",
        "Too much is 1009; only certain codes may come in a close; no close frame at all counts as 1006.",
        [
            "test_violations_are_closed_with_their_code",
            "test_which_close_codes_are_accepted",
            "test_the_end_without_a_close_frame_is_1006",
        ],
    ),
    (
        "library 4",
        "Text that is not UTF-8 is closed with 1007.",
        ["test_violations_are_closed_with_their_code"],
    ),
]


def defined_tests(path: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE))


def test_every_item_has_its_tests_and_every_test_its_item() -> None:
    here = Path(__file__)
    named = [name for _, _, names in TABLE for name in names]
    for name in named:
        path, _, function = name.rpartition("::")
        assert function in defined_tests(here.parents[2] / path if path else here), name
    assert defined_tests(here) - set(named) == {"test_every_item_has_its_tests_and_every_test_its_item"}
    assert all(names for _, _, names in TABLE)
    chapters = {"tutorial": 5, "echo server": 3, "echo client": 2, "chat": 12, "library": 4}
    numbered = [f"{name} {number + 1}" for name, count in chapters.items() for number in range(count)]
    assert sorted(item for item, _, _ in TABLE) == sorted([*numbered, "chat constants"])


@pytest.fixture
def site(servers: Servers) -> Site:
    return servers.get()


@pytest.fixture
def fresh(servers: Servers) -> Iterator[Site]:
    """A server of its own. Named before ``client``, it ends after it, and nobody keeps it waiting."""
    with servers.start() as site:
        yield site


def ask(site: Site, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request by the standard library's client."""
    connection: http.client.HTTPConnection
    if site.tls is not None:
        connection = http.client.HTTPSConnection("127.0.0.1", site.port, timeout=5, context=site.tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


async def hear(peer: ForeignPeer, count: int) -> list[str]:
    """Read until ``count`` lines were said."""
    lines: list[str] = []
    while len(lines) < count:
        message = await peer.receive()
        assert isinstance(message, str)
        lines += message.split("\n")
    return lines


@contextlib.asynccontextmanager
async def listening(peer: ForeignPeer) -> AsyncIterator[asyncio.Task[Closed]]:
    """Let the client read on: some answer pings only while they do. The task's result is the end."""
    task = asyncio.create_task(ending(peer))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- pages and refusals -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/chat"])
def test_the_pages_and_their_header(path: str, site: Site) -> None:
    status, headers, body = ask(site, "GET", path)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["x-server"] == "fastws"
    assert b"<html" in body
    status, headers, nothing = ask(site, "HEAD", path)
    assert (status, headers["content-length"], nothing) == (200, str(len(body)), b"")


def test_unknown_paths_and_methods(site: Site) -> None:
    assert ask(site, "GET", "/nowhere")[0] == 404
    status, headers, _ = ask(site, "POST", "/chat")
    assert status == 405
    assert set(headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}


def test_what_does_not_upgrade(site: Site) -> None:
    status, headers, _ = ask(site, "GET", "/ws")
    assert (status, headers["upgrade"].lower()) == (426, "websocket")
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": raw.KEY}
    status, headers, _ = ask(site, "GET", "/ws", Sec_WebSocket_Version="12", **handshake)
    assert (status, headers["sec-websocket-version"]) == (426, "13")
    assert headers["x-server"] == "fastws"


@pytest.mark.parametrize("path", ["/wsecho", "/ws"])
async def test_a_foreign_origin_is_refused(path: str, client: Foreign, site: Site) -> None:
    with pytest.raises(Refused) as refused:
        await client.connect(site, path, origin="http://elsewhere.example")
    assert refused.value.status == 403
    for origin in (None, site.address):
        peer = await client.connect(site, path, origin=origin)
        assert (await peer.close(1000)).code == 1000


# -- echo server --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/wsecho", "/echo"])
async def test_echo_keeps_type_and_bytes(path: str, client: Foreign, site: Site) -> None:
    peer = await client.connect(site, path)
    for message in ("Hello Server!", bytes(range(256)), "", b"", "弹幕 🐍" * 1000, "\x00"):
        await peer.send(message)
        assert await peer.receive() == message
    await peer.send_fragments(["a message ", "in ", "", "four parts"])
    assert await peer.receive() == "a message in four parts"


async def test_the_echo_is_logged(client: Foreign, servers: Servers) -> None:
    site = servers.get("--log-level", "debug")
    peer = await client.connect(site, "/wsecho")
    await peer.send(f"logged by {client.name}\n")
    await peer.receive()
    assert await site.logged(f"recv: logged by {client.name}\\n")


async def test_a_close_is_answered_and_tcp_ends(client: Foreign, site: Site) -> None:
    before = open_files(site.pid)
    peer = await client.connect(site, "/wsecho")
    assert open_files(site.pid) == before + 1
    assert (await peer.close(1000, "done")).code == 1000
    assert await eventually(lambda: open_files(site.pid) == before)


async def test_the_same_over_tls(client: Foreign, servers: Servers) -> None:
    site = servers.get(scheme="wss")
    assert ask(site, "GET", "/")[0] == 200
    peer = await client.connect(site, "/ws", origin=site.address)
    await peer.send("secret")
    assert await peer.receive() == "secret"
    assert (await peer.close(1000)).code == 1000


# -- echo client --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def terminal_client(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``fastws connect URL --interval 0.1``."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "fastws", "connect", url, "--interval", "0.1"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        async with asyncio.timeout(15):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("library", SERVERS)
async def test_the_client_sends_the_time(library: str, request: pytest.FixtureRequest) -> None:
    node = request.getfixturevalue("node") if library == "ws" else None
    async with open_server(library, None, node) as server, terminal_client(server.url) as process:
        assert process.stdout is not None
        times = [datetime.fromisoformat((await process.stdout.readline()).decode().strip()) for _ in range(3)]
        assert times == sorted(times)
        assert abs((datetime.now().astimezone() - times[-1]).total_seconds()) < 5
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert await server.closed() == 1000


async def test_the_client_says_why_it_cannot_connect() -> None:
    # Port 1 is privileged, and nobody listens there.
    async with terminal_client("ws://127.0.0.1:1/") as process:
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert re.fullmatch(r"fastws connect: cannot connect to ws://127.0.0.1:1/: \S.*\n", err.decode())


async def test_the_client_does_not_wait_for_ever() -> None:
    """A server that leaves the close without an answer."""
    received = bytearray()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)
        assert key is not None
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + websockets.utils.accept_key(key[1].decode()).encode() + b"\r\n\r\n"
        )
        while data := await reader.read(4096):
            received.extend(data)
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with terminal_client(f"ws://127.0.0.1:{port}/") as process:
            while not received:
                await asyncio.sleep(0.01)
            started = asyncio.get_running_loop().time()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            assert asyncio.get_running_loop().time() - started < 3
    last = received[-8:]
    assert last[:2] == b"\x88\x82"
    assert raw.masked(bytes(last[6:]), bytes(last[2:6])) == (1000).to_bytes(2, "big")


# -- chat: who says what to whom ----------------------------------------------------------------


def test_the_constants_of_the_chat() -> None:
    assert chat.LIMITS == {"max_message_size": 512, "send_queue": 256}
    times = chat.TIMEOUTS
    assert (times["write"], times["ping_interval"]) == (10, 54)
    assert times["ping_interval"] + times["ping_timeout"] == 60


SAYINGS = [
    ("hello", "hello"),
    (b"binary", "binary"),
    ("two\nlines\n\nand a gap", "two lines  and a gap"),
    (" \t\r\n ends \n\v\f ", "ends"),
    ("弹幕\n".encode(), "弹幕"),
    ("\n \n", ""),
    ("", ""),
    ("<b>&amp;</b>", "<b>&amp;</b>"),
]


async def test_what_is_said_is_trimmed_and_goes_out_as_text(client: Foreign, site: Site) -> None:
    speaker = await client.connect(site, "/ws")
    listener = await client.connect(site, "/ws")
    for said, heard in SAYINGS:
        await speaker.send(said)
        assert [await speaker.receive(), await listener.receive()] == [heard, heard]


async def test_binary_that_is_no_text_is_refused(client: Foreign, site: Site) -> None:
    speaker = await client.connect(site, "/ws")
    listener = await client.connect(site, "/ws")
    await speaker.send(b"caf\xe9")
    assert (await ending(speaker)).code == 1007
    await listener.send("next")
    assert await listener.receive() == "next"


async def test_512_bytes_pass_and_513_do_not(client: Foreign, site: Site) -> None:
    listener = await client.connect(site, "/ws")
    for fits, too_much in ((["é" * 256], ["é" * 256 + "x"]), (["x" * 500, "y" * 12], ["x" * 500, "y" * 13])):
        speaker = await client.connect(site, "/ws")
        await speaker.send_fragments(fits)
        assert [await speaker.receive(), await listener.receive()] == ["".join(fits)] * 2
        await speaker.send_fragments(too_much)
        assert (await ending(speaker)).code == 1009
    await listener.send("still here")
    assert await listener.receive() == "still here"


async def test_everybody_hears_everybody_in_one_order(client: Foreign, site: Site) -> None:
    peers = [await client.connect(site, "/ws") for _ in range(4)]

    async def speak(number: int, peer: ForeignPeer) -> None:
        for count in range(50):
            await peer.send(f"{number}: {count}")

    heard = asyncio.gather(*[hear(peer, 200) for peer in peers])
    await asyncio.gather(*[speak(number, peer) for number, peer in enumerate(peers)])
    first, *others = await heard
    assert all(each == first for each in others)
    for number in range(4):
        assert [line for line in first if line.startswith(f"{number}:")] == [
            f"{number}: {count}" for count in range(50)
        ]


async def test_what_waits_together_is_one_message(client: Foreign, site: Site) -> None:
    speaker = await client.connect(site, "/ws")
    listener = await client.connect(site, "/ws")
    speaker.write_raw(b"".join(frame(TEXT, f"line {number}".encode()) for number in range(5)))
    assert await listener.receive() == "line 0\nline 1\nline 2\nline 3\nline 4"
    assert await speaker.receive() == "line 0\nline 1\nline 2\nline 3\nline 4"
    for number in range(3):
        await speaker.send(f"alone {number}")
        assert await listener.receive() == f"alone {number}"


async def test_the_room_goes_on(client: Foreign, site: Site) -> None:
    stays = await client.connect(site, "/ws")
    for leave in ("close", "abort", "both"):
        leaves = await client.connect(site, "/ws")
        await leaves.send(f"going by {leave}")
        assert await stays.receive() == f"going by {leave}"
        if leave != "abort":
            leaves.write_raw(close_frame(1000))
        if leave != "close":
            leaves.abort()
        await ending(leaves)
        for line in ("one", "two"):
            await stays.send(line)
            assert await stays.receive() == line


# -- chat: slow, silent and gone ----------------------------------------------------------------


def burst(start: int, count: int = 200) -> bytes:
    """Numbered chat messages of 500 bytes, as one write."""
    return b"".join(frame(TEXT, f"{start + index:08}".encode() * 62) for index in range(count))


async def test_who_does_not_read_is_evicted(fresh: Site, client: Foreign) -> None:
    slow = await client.connect(fresh, "/ws")
    speaker = await client.connect(fresh, "/ws")
    listener = await client.connect(fresh, "/ws")
    slow.pause()
    said = 0
    # Sockets take some megabytes before they refuse any; the listener sets the pace.
    while "1008" not in fresh.child.stdout() and said < 60_000:
        speaker.write_raw(burst(said))
        heard = await asyncio.gather(hear(listener, 200), hear(speaker, 200))
        numbers = [int(line[:8]) for line in heard[0]]
        assert numbers == list(range(said, said + 200))
        said += 200
    slow.resume()
    got: list[str] = []
    with pytest.raises(Closed) as closed:
        while True:
            got += await hear(slow, 1)
    assert (closed.value.code, bool(closed.value.reason)) == (1008, True)
    # What had left before is whole and in order; what waited was thrown away.
    assert [int(line[:8]) for line in got] == list(range(len(got)))
    assert len(got) <= said - 200
    await speaker.send("goes on")
    assert await listener.receive() == "goes on"


async def test_who_takes_nothing_is_gone_after_the_write_wait(client: Foreign, servers: Servers) -> None:
    """The speaker is alone in the room: the server stops reading from it, and evicts nobody."""
    site = servers.get(app="tests.live.apps:impatient")
    before = open_files(site.pid)
    speaker = await client.connect(site, "/ws")
    speaker.pause()
    speaker.write_raw(burst(0, 40_000))
    assert await eventually(lambda: open_files(site.pid) == before, 10)
    speaker.resume()
    assert (await ending(speaker)).code == 1006


async def test_who_answers_pings_stays(client: Foreign, servers: Servers) -> None:
    site = servers.get(app="tests.live.apps:quick_pings")
    peer = await client.connect(site, "/ws")
    async with listening(peer) as ended:
        await asyncio.sleep(2)
        assert not ended.done()


# Not websockets, which answers every ping.
@pytest.mark.parametrize("client", ["aiohttp", "ws"], indirect=True)
async def test_who_does_not_answer_pings_is_gone(client: Foreign, servers: Servers) -> None:
    site = servers.get(app="tests.live.apps:quick_pings")
    peer = await client.connect(site, "/ws", pongs=False)
    started = asyncio.get_running_loop().time()
    assert (await ending(peer)).code == 1006
    assert 0.5 < asyncio.get_running_loop().time() - started < 3
    assert 'closed 1006 "ping timeout" by server' in site.child.stdout()


async def test_which_closes_are_errors_in_the_log(fresh: Site, client: Foreign) -> None:
    for code in (1000, 1001):
        (await client.connect(fresh, "/ws")).write_raw(close_frame(code))
    (await client.connect(fresh, "/ws")).write_raw(frame(CLOSE))
    (await client.connect(fresh, "/ws")).abort()
    for code in (1000, 1001, 1005, 1006):
        assert await fresh.logged(f"closed {code}")
    assert "chat:" not in fresh.child.stderr()
    for data, said in (
        (close_frame(1011, b"my fault\n"), "closed with 1011 my fault\\n"),
        (frame(TEXT, b"x" * 513), "closed with 1009"),
    ):
        peer = await client.connect(fresh, "/ws")
        peer.write_raw(data)
        await ending(peer)
        assert await fresh.logged(said)


# -- library facts ------------------------------------------------------------------------------


async def test_pings_and_closes_come_back(client: Foreign, site: Site) -> None:
    for payload in (b"", b"12", b"\x00\xff" * 62 + b"."):
        peer = await client.connect(site, "/echo")
        if client.name != "websockets" or payload:
            await peer.ping(payload)
        assert (await peer.close(3333, "why not")).code == 3333


VIOLATIONS: list[tuple[str, bytes, int]] = [
    ("unmasked", frame(TEXT, b"x", mask=None), 1002),
    *[(f"reserved bit {bit}", frame(TEXT, b"x", rsv=bit), 1002) for bit in (1, 2, 4)],
    *[(f"opcode {opcode}", frame(opcode, b"x"), 1002) for opcode in (3, 7, 11, 15)],
    ("a ping of 126 bytes", frame(PING, b"x" * 126), 1002),
    ("a ping in fragments", frame(PING, b"x", fin=False), 1002),
    ("a close in fragments", frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    ("a fragment of nothing", frame(CONTINUATION, b"x"), 1002),
    ("a message within a message", frame(TEXT, b"x", fin=False) + frame(BINARY, b"y"), 1002),
    ("too much", raw.header(BINARY, 1 << 20 | 1), 1009),
    ("too much in fragments", frame(BINARY, b"x" * 1000, fin=False) + raw.header(0, 1 << 20), 1009),
    ("text that is no UTF-8", frame(TEXT, b"caf\xe9!"), 1007),
    ("half a surrogate pair", frame(TEXT, b"\xed\xa0\x80"), 1007),
    ("half a character at the end", frame(TEXT, b"x\xe2", fin=False) + frame(CONTINUATION, b"\x82"), 1007),
    ("a close with half a code", frame(CLOSE, b"\x03"), 1002),
    ("a reason that is no UTF-8", close_frame(1000, b"\xff"), 1007),
]


@pytest.mark.parametrize(("data", "code"), [v[1:] for v in VIOLATIONS], ids=[v[0] for v in VIOLATIONS])
async def test_violations_are_closed_with_their_code(
    data: bytes, code: int, client: Foreign, site: Site
) -> None:
    peer = await client.connect(site, "/echo")
    peer.write_raw(data)
    assert (await ending(peer)).code == code


async def test_which_close_codes_are_accepted(client: Foreign, site: Site) -> None:
    accepted = [*range(1000, 1004), *range(1007, 1014), 3000, 3999, 4000, 4999]
    refused = [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2000, 2999, 5000, 65535]
    for code in accepted + refused:
        peer = await client.connect(site, "/echo")
        peer.write_raw(close_frame(code, b"said so"))
        assert (code, (await ending(peer)).code) == (code, code if code in accepted else 1002)


async def test_the_end_without_a_close_frame_is_1006(fresh: Site, client: Foreign) -> None:
    peer = await client.connect(fresh, "/echo")
    await peer.send("x")
    await peer.receive()
    peer.abort()
    assert await fresh.logged("closed 1006 by peer")
