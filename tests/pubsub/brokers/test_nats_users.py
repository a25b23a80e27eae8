"""What a user of a NATS server may not do: told in one line, and nobody waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

import fastws
from fastws.pubsub.brokers.base import BrokerRefused, Item
from tests.kit import until
from tests.kit.nats import Nats, need_nats
from tests.kit.nats_users import credentials, write_operator

pytest.importorskip("nats")

from tests.pubsub.brokers.nats_nodes import history, keyed, nodes, put, run

pytestmark = [pytest.mark.live, pytest.mark.system]

MAY_ALL_BUT = """
jetstream {{ store_dir: "{store}" }}
authorization {{ users = [ {{ user: me, password: secret, permissions: {{
  publish: {{ allow: [">"], deny: [{publish}] }}, subscribe: {{ allow: [">"], deny: [{subscribe}] }}
}} }} ] }}
"""


def server(folder: Path, *, publish: str = "", subscribe: str = "") -> Nats:
    """A server whose user may not use these subjects."""
    need_nats()
    text = MAY_ALL_BUT.format(store=folder / "store", publish=publish, subscribe=subscribe)
    (folder / "config").write_text(text)
    return Nats(folder / "server", "-c", str(folder / "config"), streams=False)


def url_of(one: Nats) -> str:
    return f"nats://me:secret@127.0.0.1:{one.port}"


async def test_credentials_let_us_in(tmp_path: Path) -> None:
    need_nats()
    pytest.importorskip("nkeys")
    account = write_operator(tmp_path)
    with Nats(tmp_path / "server", "-c", str(tmp_path / "config"), streams=False) as one:
        (tmp_path / "ours").write_text(credentials(account))
        async with nodes(f"{one.url}?creds={tmp_path}/ours", 2) as (a, b):
            await b.follow("hub/p")
            a.broker.publish("hub/p", b"blob")
            await until(lambda: b.blobs)
        (tmp_path / "theirs").write_text(credentials())
        for more in ("", f"?creds={tmp_path}/theirs"):
            with pytest.raises(fastws.BrokerUnavailable, match="wrong user, password, token or credentials"):
                async with nodes(one.url + more):
                    pass


async def test_a_plain_topic_that_may_not_be_published_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with server(tmp_path, publish='"fastws.p.>"') as one:
        async with nodes(url_of(one)) as (node,):
            for _ in range(10):
                node.broker.publish("hub/p", b"blob")
            await until(lambda: "(10 times)" in caplog.text)
            for _ in range(9):
                node.broker.publish("hub/p", b"blob")
            await until(lambda: not node.broker._outbox)
    assert caplog.text.count('permissions violation for publish to "fastws.p.hub/p"') == 2


async def test_a_stream_that_may_not_be_written_refuses_at_once(tmp_path: Path) -> None:
    with server(tmp_path, publish='"fastws.h.>", "fastws.k.*.*.>", "fastws.k.*.v.>"') as one:
        async with nodes(url_of(one)) as (node,):
            with pytest.raises(BrokerRefused, match=r"permissions violation for publish to .fastws.h.hub/t"):
                await node.broker.append(history(), run(1, b"x"))
            with pytest.raises(
                BrokerRefused, match=r"permissions violation for publish to .fastws.k.hub/k.v"
            ):
                await node.broker.append(keyed(), put(1, Item(b"1", "k")))


async def test_jetstream_that_may_not_be_asked_refuses_at_once(tmp_path: Path) -> None:
    with server(tmp_path, publish='"$JS.API.>"') as one:
        async with nodes(url_of(one)) as (node,):
            for call in (node.broker.declare(history()), node.broker.read(keyed(), None)):
                with pytest.raises(BrokerRefused, match="permissions violation for publish"):
                    await call


async def test_a_topic_that_may_not_be_heard_is_not_watched(tmp_path: Path) -> None:
    with server(tmp_path, subscribe='"fastws.lh.>", "fastws.lk.>"') as one:
        async with nodes(url_of(one)) as (node,):
            for topic in (history(), keyed()):
                for _ in range(2):
                    with pytest.raises(BrokerRefused, match="permissions violation for subscription"):
                        await node.broker.watch(topic)


async def test_without_answers_nothing_is_possible(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        server(tmp_path, subscribe='"_INBOX.>"') as one,
        pytest.raises(fastws.BrokerUnavailable, match="permissions violation for subscription to ._inbox"),
    ):
        async with nodes(url_of(one)):
            pass
    assert caplog.text == ""
