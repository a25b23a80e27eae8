"""Publishers against a server: what they publish, and what they say where they cannot."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws import AsyncPublisher, Publisher, PublishError
from fastws.publish.exchange import Target
from tests.client.peers import Certificates
from tests.publish.served import ALL, PageServer, page_served
from tests.rows import all_rows

pytestmark = pytest.mark.live

#: Nobody listens there. A port that was free a moment ago may be another test's.
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def served() -> Iterator[PageServer]:
    with page_served() as served:
        yield served


def publisher(served: PageServer, **options: Any) -> Publisher:
    return Publisher(served.url, **{"token": ALL, **options})


def kept(served: PageServer, topic: str) -> list[Any]:
    return [each.message for each in served.do(served.hub.history(topic, 10_000))]


def test_it_publishes_what_a_hub_does(served: PageServer) -> None:
    with publisher(served) as client:
        first = client.publish("rooms/kinds", "text")
        assert isinstance(first, fastws.Published) and not first.duplicate
        second = client.publish("rooms/kinds", b"\0", once="1")
        assert second == fastws.Published(first.at.after(1))
        assert client.publish("rooms/kinds", json=[1], once="1") == fastws.Published(
            second.at, duplicate=True
        )
        assert client.publish("plain", json={"a": 1}) is None
        client.publish("quotes", json=1.5, key="a")
        client.publish("quotes", '"text"', key="b")
        client.publish("quotes", key="a", remove=True)
    assert kept(served, "rooms/kinds") == ["text", b"\0"]
    assert served.do(served.hub.snapshot("quotes")) == {"b": '"text"'}


def test_thousands_go_in_few_requests_and_in_order(served: PageServer) -> None:
    before = served.server.counters.as_dict()
    with publisher(served) as client:
        done = client.publish_many({"topic": "rooms/many", "message": str(n)} for n in range(2500))
    assert len(done) == 2500 and kept(served, "rooms/many") == [str(n) for n in range(2500)]
    after = served.server.counters.as_dict()
    assert after["connections"] - before["connections"] == 1
    assert after["http_responses"] - before["http_responses"] == 3


def test_large_messages_fill_a_request_each(served: PageServer) -> None:
    with publisher(served) as client:
        done = client.publish_many([{"topic": "rooms/large", "message": "x" * 600_000}] * 3)
        assert len(done) == 3
        with pytest.raises(PublishError) as caught:
            client.publish_many(
                [{"topic": "rooms/large", "message": "y"}, {"topic": "rooms/large", "message": "x" * 2**20}]
            )
        assert (caught.value.code, caught.value.index) == ("too_large", 1)
    assert kept(served, "rooms/large")[-1] == "y"


def test_threads_share_one_publisher(served: PageServer) -> None:
    with publisher(served) as client:

        def work(name: int) -> None:
            for n in range(20):
                client.publish(f"rooms/thread{name}", str(n))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in range(12):
        assert kept(served, f"rooms/thread{name}") == [str(n) for n in range(20)]


FORKS = """
import os, sys
import fastws

with fastws.Publisher(sys.argv[1], token=sys.argv[2]) as publisher:
    publisher.publish("rooms/forked", "first")
    child = os.fork()
    for n in range(50):
        publisher.publish("rooms/forked", f"{'parent' if child else 'child'} {n}")
    if child:
        sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_forked_process_has_connections_of_its_own(served: PageServer) -> None:
    before = served.server.counters.as_dict()["connections"]
    subprocess.run([sys.executable, "-c", FORKS, served.url, ALL], check=True, timeout=30)
    found = kept(served, "rooms/forked")
    for who in ("parent", "child"):
        assert [text for text in found if text.startswith(who)] == [f"{who} {n}" for n in range(50)]
    assert len(found) == 101
    assert served.server.counters.as_dict()["connections"] == before + 2
    with publisher(served) as client:
        client.publish("rooms/forked", "x")
        client._pid += 1  # what a child of it sees
        client.publish("rooms/forked", "y")
        assert client._pid == os.getpid()
        assert served.server.counters.as_dict()["connections"] == before + 4


def test_what_is_no_message_is_a_type_error(served: PageServer) -> None:
    with publisher(served) as client, all_rows() as row:
        for words, item in {
            "or json=": {},
            "not both": {"message": "a", "json": 1},
            "without a message": {"key": "a", "remove": True, "message": "a"},
            "str or bytes": {"message": 1},
            "not JSON serializable": {"json": object()},
        }.items():
            with row(words), pytest.raises(TypeError, match=f"message 0: .*{words}"):
                client.publish("rooms/wrong", **item)
        with pytest.raises(TypeError, match="no 'massage'"):
            client.publish_many([{"topic": "a", "massage": ""}])
        with pytest.raises(TypeError, match="takes mappings"):
            client.publish_many(["a"])  # type: ignore[list-item]
        with pytest.raises(TypeError, match="message 1:"):
            client.publish_many([{"topic": "rooms/wrong", "message": "first"}, {"topic": "rooms/wrong"}])
    assert kept(served, "rooms/wrong") == ["first"]


def test_a_refusal_says_which_message_and_that_none_was_published(served: PageServer) -> None:
    with publisher(served) as client, pytest.raises(PublishError, match="has no keys") as caught:
        client.publish_many([{"topic": "rooms/r", "json": 1}, {"topic": "rooms/r", "json": 1, "key": "k"}])
    assert (caught.value.code, caught.value.index) == ("bad_request", 1)
    assert {number: code for number, (code, _) in caught.value.failed.items()} == {
        0: "not_published",
        1: "bad_request",
    }
    assert str(caught.value).endswith("(message 1)") and kept(served, "rooms/r") == []
    with publisher(served, token="token-of-nobody-at-all") as client, pytest.raises(PublishError) as caught:
        client.publish("rooms/r", "")
    assert caught.value.code == "unauthorized" and caught.value.index is None


def test_what_a_topic_refuses_leaves_the_others_published(served: PageServer) -> None:
    puts = [{"topic": "quotes", "json": n, "key": f"full{n}"} for n in range(5)]
    with publisher(served) as client, pytest.raises(PublishError) as caught:
        client.publish_many(puts)
    keys = set(served.do(served.hub.snapshot("quotes")))
    assert caught.value.code == "limit"
    assert keys >= {f"full{n}" for n in set(range(5)) - set(caught.value.failed)}
    assert len(caught.value.failed) >= 2


def test_a_page_that_is_elsewhere(served: PageServer) -> None:
    with (
        Publisher(f"{served.url}/nowhere?a=b", token=ALL) as client,
        pytest.raises(PublishError, match="status 404: 404 Not Found") as caught,
    ):
        client.publish("rooms/a", "")
    assert caught.value.code == "refused"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with page_served(unix=path, host=None) as served:
        with Publisher(f"unix:{path}", token=ALL) as client:
            client.publish("rooms/unix", "x")
        assert kept(served, "rooms/unix") == ["x"]

        async def publish() -> None:
            async with AsyncPublisher(f"unix:{path}", token=ALL) as other:
                await other.publish("rooms/unix", "y")

        asyncio.run(publish())
        assert kept(served, "rooms/unix") == ["x", "y"]


async def test_the_same_in_asyncio(served: PageServer) -> None:
    async with AsyncPublisher(served.url, token=ALL) as client:
        assert await client.publish("plain", "") is None
        first = await client.publish("rooms/async", json=1, once="1")
        again = await client.publish("rooms/async", json=1, once="1")
        assert first is not None and again == fastws.Published(first.at, duplicate=True)
        await asyncio.gather(*(client.publish("rooms/async", json=n) for n in range(20)))
        await client.publish_many({"topic": "rooms/async", "json": n} for n in range(1100))
        with pytest.raises(PublishError, match="has no keys"):
            await client.publish("rooms/async", "1", key="k")
    assert len(kept(served, "rooms/async")) == 1121


# -- servers that are none ----------------------------------------------------------------------


@contextmanager
def scripted(*answers: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes a connection for each answer, and closes it behind that; None: says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            sock, _ = listener.accept()
            with sock:
                requests.append(sock.recv(65536))
                if answer is None:
                    while sock.recv(65536):
                        pass
                else:
                    sock.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        thread.join(20)
        listener.close()


def answer(status: int, body: bytes, *fields: bytes) -> bytes:
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n" % (status, len(body))
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


FINE = answer(200, b'{"published":1,"items":[{"at":"e:1","duplicate":false}]}')
LARGE = answer(413, b'{"published":0,"items":[{"error":{"code":"too_large","reason":"never"}}]}')
BUSY = answer(503, b'{"published":0,"items":[{"error":{"code":"unavailable","reason":"no broker"}}]}')
AT_ONE = fastws.Published(fastws.Position("e", 1))


def test_only_what_has_an_id_is_sent_again() -> None:
    cut = {"closed": b"", "half an answer": FINE[:40], "no HTTP": b"SSH-2.0-x\r\n\r\n", "busy": BUSY}
    with all_rows() as row:
        for name, first in cut.items():
            with row(name), scripted(first) as (url, requests):
                with Publisher(url) as client, pytest.raises(PublishError) as caught:
                    client.publish("a", "x")
                assert caught.value.code == ("unavailable" if name == "busy" else "uncertain")
                assert set(caught.value.failed) == {0} and len(requests) == 1
            with row(f"{name}, with an id"), scripted(first, FINE) as (url, requests):
                with Publisher(url) as client:
                    assert client.publish("a", "x", once="1") == AT_ONE
                assert requests[0] == requests[1]
            with row(f"{name}, asyncio"), scripted(first, FINE) as (url, requests):

                async def publish(url: str) -> Any:
                    async with AsyncPublisher(url) as client:
                        return await client.publish("a", "x", once="1")

                assert asyncio.run(publish(url)) == AT_ONE


def test_a_server_that_ends_is_told_in_plain_words() -> None:
    half = FINE.index(b"items")
    middle = "in the middle of its answer"
    for cut, where in ((0, "without an answer"), (8, middle), (half, middle)):
        with (
            scripted(FINE[:cut]) as (url, _),
            Publisher(url) as client,
            pytest.raises(PublishError) as caught,
        ):
            client.publish("a", "x")
        assert caught.value.reason.endswith(f" has not answered: it closed the connection {where}")


def test_what_can_never_be_published_is_not_sent_again() -> None:
    with scripted(LARGE) as (url, requests), Publisher(url) as client:
        with pytest.raises(PublishError, match="too_large: never") as caught:
            client.publish("a", "x", once="1")
        assert caught.value.index == 0 and len(requests) == 1


def test_only_what_has_failed_is_sent_again() -> None:
    half = (
        b'{"published":1,"items":[{"at":"e:1","duplicate":false},'
        b'{"error":{"code":"uncertain","reason":"no answer"}}]}'
    )
    rest = b'{"published":1,"items":[{"at":"e:2","duplicate":false}]}'
    with scripted(answer(503, half), answer(200, rest)) as (url, requests), Publisher(url) as client:
        done = client.publish_many({"topic": "a", "message": text, "once": text} for text in ("x", "y"))
    assert done == [AT_ONE, fastws.Published(fastws.Position("e", 2))]
    assert b'"once":"x"' in requests[0] and b'"once":"x"' not in requests[1]


def test_the_time_ends_all_attempts() -> None:
    with scripted(*[None]) as (url, _), Publisher(url, timeout=0.2) as client:
        with pytest.raises(PublishError, match="no answer in time") as caught:
            client.publish("a", "x", once="1")
        assert caught.value.code == "uncertain" and caught.value.index == 0
    with Publisher(NOBODY, timeout=0.3) as client:
        with pytest.raises(PublishError, match="cannot be reached: Connection refused") as caught:
            client.publish("a", "x")
        assert caught.value.code == "connection"
        with pytest.raises(PublishError, match="Connection refused"):
            client.publish("a", "x", once="1")


def test_the_time_ends_all_attempts_in_asyncio() -> None:
    async def publish(url: str, words: str, **options: Any) -> None:
        async with AsyncPublisher(url, timeout=0.2) as client:
            with pytest.raises(PublishError, match=words):
                await client.publish("a", "x", **options)

    with scripted(*[None]) as (url, _):
        asyncio.run(publish(url, "no answer in time", once="1"))
    asyncio.run(publish(NOBODY, "cannot be reached"))
    asyncio.run(publish(NOBODY, "cannot be reached", once="1"))


def test_a_server_that_closes_behind_each_answer() -> None:
    closing = FINE.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    with scripted(closing, closing) as (url, _), Publisher(url) as client:
        for _ in range(2):
            assert client.publish("a", "x") == AT_ONE and client._idle == []
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    with scripted(interim + FINE, interim) as (url, _), Publisher(url) as client:
        assert client.publish("a", "x") == AT_ONE
        while client._idle[0].is_fresh():
            pass
        with pytest.raises(PublishError, match="uncertain"):
            client.publish("a", "x")


def test_answers_of_other_servers() -> None:
    for status, body, code in (
        (413, b"413 Content Too Large\n", "too_large"),
        (429, b"", "unavailable"),
        (200, b"<html>", "refused"),
        (500, b'{"error":"broken"}', "refused"),
        (400, b'{"error":{"code":"odd","index":99}}', "odd"),
    ):
        with scripted(answer(status, body)) as (url, _), Publisher(url) as client:
            with pytest.raises(PublishError) as caught:
                client.publish("a", "x")
            assert caught.value.code == code and set(caught.value.failed) == {0}
    endless = answer(200, b"x" * (2**20 + 1))
    with (
        scripted(endless) as (url, _),
        Publisher(url) as client,
        pytest.raises(PublishError, match="too long"),
    ):
        client.publish("a", "x")


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with scripted(FINE, FINE) as (url, requests), Publisher(url) as client:
        assert client.publish("a", "x") == AT_ONE
        while client._idle[0].is_fresh():
            pass
        assert client.publish("a", "x") == AT_ONE
    assert len(requests) == 2


def test_urls_tokens_and_times() -> None:
    assert Target.parse("http://h").path == "/publish" and Target.parse("http://h/x?y=1").path == "/x?y=1"
    assert Target.parse("https://[::1]").authority == "[::1]" and Target.parse("http://h:81").port == 81
    assert str(Target.parse("unix:///run/x")) == "unix:/run/x"
    with all_rows() as row:
        for url in (
            "ws://h",
            "h:80",
            "http://",
            "http://h:0",
            "http://h:x",
            "unix:x",
            "http://u:p@h",
            "http://h/ü",
        ):
            with row(url), pytest.raises(ValueError):
                Publisher(url)
        with row("http://h/a b"), pytest.raises(ValueError):
            Publisher("http://h/a b")
    with pytest.raises(ValueError, match="a word"):
        Publisher("http://h", token="a b")
    with pytest.raises(TypeError, match="is text"):
        AsyncPublisher("http://h", token=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="more than 0"):
        Publisher("http://h", timeout=0)
    with pytest.raises(TypeError, match="seconds"):
        Publisher("http://h", timeout="1")  # type: ignore[arg-type]
    for each in (Publisher("https://h"), AsyncPublisher("https://h")):
        assert each._door.context is not None


def test_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    context = certificates.client
    with page_served(ssl=certificates.server) as served:
        url = f"https://localhost:{served.port}"
        with Publisher(url, token=ALL, ssl=context) as client:
            for text in "ab":
                client.publish("rooms/tls", text)
        assert served.server.counters.as_dict()["connections"] == 1
        with Publisher(url, token=ALL) as client, pytest.raises(PublishError, match="certificate") as caught:
            client.publish("rooms/tls", "c")
        assert caught.value.code == "connection"

        async def publish() -> None:
            async with AsyncPublisher(url, token=ALL, ssl=context) as other:
                await other.publish("rooms/tls", "c")

        asyncio.run(publish())
        assert kept(served, "rooms/tls") == ["a", "b", "c"]


async def test_a_cancelled_call_leaves_no_connection_behind(served: PageServer) -> None:
    with scripted(None) as (url, requests):
        async with AsyncPublisher(url) as client:
            task = asyncio.create_task(client.publish("a", "x"))
            while not requests:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client._idle == []
            await asyncio.sleep(0.01)  # the transport closes in the next turn


async def test_connections_of_asyncio_are_used_while_they_are_fresh(served: PageServer) -> None:
    async with AsyncPublisher(served.url, token=ALL) as client:
        before = served.server.counters.as_dict()["connections"]
        for _ in range(3):
            await client.publish("plain", "x")
        assert served.server.counters.as_dict()["connections"] == before + 1
        client._idle[0].used_at -= 100
        await client.publish("plain", "x")
        assert served.server.counters.as_dict()["connections"] == before + 2
        await asyncio.gather(*(client.publish("plain", "x") for _ in range(20)))
        assert len(client._idle) <= 8


def test_an_old_connection_is_not_used_again(served: PageServer) -> None:
    with publisher(served) as client:
        client.publish("plain", "x")
        client._idle[0].used_at -= 100
        before = served.server.counters.as_dict()["connections"]
        client.publish("plain", "x")
        assert served.server.counters.as_dict()["connections"] == before + 1


def test_what_ends_the_program_ends_the_connection(
    served: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with publisher(served) as client:
        client.publish("plain", "x")
        line = client._idle[0]

        def interrupted(*_: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(line, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.publish("plain", "x")
        assert client._idle == [] and line._sock.fileno() == -1
