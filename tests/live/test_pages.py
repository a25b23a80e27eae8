"""The pages by the standard library's client, and what is refused."""

from __future__ import annotations

import pytest

from tests.live import raw
from tests.live.foreign import Foreign, Refused, ask
from tests.live.servers import Site

pytestmark = [pytest.mark.live, pytest.mark.foreign]


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
