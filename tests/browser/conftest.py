"""Both pages in a real Chromium, against ``python -m fastws serve`` in a process of its own.

Without a browser these tests are skipped, with the reason; ``TESTS_REQUIRE_BROWSER=1`` makes that
a failure, so that no CI passes without having looked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import chromium, require
from tests.cli.helpers import Child, fastws, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MILLISECONDS = 10_000
#: What a browser complains about when a test has ended its server: pages connect again, and a tab's
#: icon is fetched after everything else, so perhaps too late.
SERVER_GONE = r"WebSocket connection to .* failed|Failed to load resource: net::ERR_\w+"


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
    require()


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


@pytest.fixture(scope="module", params=["http", "https"])
def tls(request: pytest.FixtureRequest, certificates: Path) -> list[object]:
    """The options that make a server speak the scheme of this round."""
    if request.param == "http":
        return []
    return ["--ssl-certfile", certificates / "server.pem", "--ssl-keyfile", certificates / "server-key.pem"]


@contextmanager
def servers(tls: list[object], folders: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    children: list[Child] = []
    with ExitStack() as stack:

        def start(*options: object, port: int = 0) -> Site:
            arguments = ["serve", "--port", port, *tls, *options]
            children.append(stack.enter_context(running(folders.mktemp("server"), *arguments)))
            return Site(children[-1], children[-1].address())

        yield start
        for child in children:
            assert "Traceback" not in child.stderr(), child.stderr()


@pytest.fixture(scope="module")
def site(tls: list[object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server of each scheme for all tests that leave it as it is."""
    with servers(tls, tmp_path_factory) as start:
        yield start()


@pytest.fixture
def start(tls: list[object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """Starts servers for one test, with more options if need be."""
    with servers(tls, tmp_path_factory) as start:
        yield start


@dataclass
class Troubles:
    """What the pages complained about, and a pattern of what a test provokes on purpose."""

    seen: list[str] = field(default_factory=list)
    provoked: str | None = None

    def unexpected(self) -> list[str]:
        return [what for what in self.seen if self.provoked is None or not re.search(self.provoked, what)]


@pytest.fixture
def troubles() -> Iterator[Troubles]:
    troubles = Troubles()
    yield troubles
    assert troubles.unexpected() == []


@pytest.fixture
def new_page(browser: Browser, start: object, troubles: Troubles) -> Iterator[Callable[..., Page]]:
    """Opens tabs, each like a person's own window. They close before the servers (``start``) end."""
    with ExitStack() as contexts:

        def new_page(**options: object) -> Page:
            context = browser.new_context(**options)  # type: ignore[arg-type]
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(MILLISECONDS)
            page.on("pageerror", lambda error: troubles.seen.append(str(error)))
            page.on("console", lambda message: message.type == "error" and troubles.seen.append(message.text))
            page.on(
                "response", lambda got: got.status >= 400 and troubles.seen.append(f"{got.status} {got.url}")
            )
            return page

        yield new_page


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page()
