"""Both pages in a real Chromium, against ``python -m fastws serve`` in a process of its own.

Without a browser these tests are skipped, with the reason; ``FASTWS_REQUIRE_BROWSER=1`` makes that
a failure, so that no CI passes without having looked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import chromium, missing
from tests.cli.helpers import Child, fastws, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MILLISECONDS = 10_000


@dataclass
class Site:
    """A running server. ``url`` is what the start line says to open, without a slash at the end."""

    child: Child
    url: str

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1)


@pytest.fixture(scope="session", autouse=True)
def browser_is_there() -> None:
    reason = missing()
    if reason is None:
        return
    if os.environ.get("FASTWS_REQUIRE_BROWSER") == "1":
        pytest.fail(f"FASTWS_REQUIRE_BROWSER is set, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory, browser_is_there: None) -> Path:
    """A folder with what ``fastws cert`` makes."""
    folder = tmp_path_factory.mktemp("certificates")
    made = fastws("cert", "--directory", folder)
    assert made.returncode == 0, made.stderr
    return folder


# One module at a time: the synchronous playwright keeps an event loop running in this thread.
@pytest.fixture(scope="module")
def browser(certificates: Path) -> Iterator[Browser]:
    with chromium(certificates / "server.pem") as browser:
        yield browser


@pytest.fixture(params=["http", "https"])
def start(
    request: pytest.FixtureRequest, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """Starts servers of one scheme, with more options if need be."""
    tls = ["--ssl-certfile", certificates / "server.pem", "--ssl-keyfile", certificates / "server-key.pem"]
    scheme = tls if request.param == "https" else []
    with ExitStack() as servers:

        def start(*options: object, port: int = 0) -> Site:
            folder = tmp_path_factory.mktemp("server")
            child = servers.enter_context(running(folder, "serve", "--port", port, *scheme, *options))
            return Site(child, child.address())

        yield start


@pytest.fixture
def site(start: Callable[..., Site]) -> Site:
    return start()


@pytest.fixture
def troubles() -> Iterator[list[str]]:
    """What a page complained about. A test that provokes something looks at it and clears the list."""
    troubles: list[str] = []
    yield troubles
    assert troubles == []


@pytest.fixture
def new_page(browser: Browser, start: object, troubles: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens tabs, each like a person's own window. They close before the servers (``start``) end."""
    with ExitStack() as contexts:

        def new_page(**options: object) -> Page:
            context = browser.new_context(**options)  # type: ignore[arg-type]
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(MILLISECONDS)
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("console", lambda message: message.type == "error" and troubles.append(message.text))
            page.on("response", lambda got: got.status >= 400 and troubles.append(f"{got.status} {got.url}"))
            return page

        yield new_page


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page()
