"""Real servers, real sockets, and clients that were not written here.

``ws`` of node is installed from the lock file in ``node/``; without node its tests are skipped, with
the reason, and ``TESTS_REQUIRE_NODE=1`` makes that a failure, so that no CI passes without it.
``FASTWS_ENGINE`` chooses the engine of every server whose test does not say which.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.live.foreign import Foreign
from tests.live.foreign_clients import CLIENTS, Tools, open_client
from tests.live.servers import Servers, Site, make_certificates

NODE_FILES = Path(__file__).with_name("node")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what ``fastws cert`` makes."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def servers(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(certificates, tmp_path_factory)
    yield servers
    servers.close()


def install_ws(folder: Path) -> str | None:
    """Install the pinned ``ws`` in ``folder``; return why it cannot be."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return "node and npm are not installed"
    shutil.copytree(NODE_FILES, folder, dirs_exist_ok=True)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50)
    return None if done.returncode == 0 else f"npm ci failed: {done.stderr[-500:]}"


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which node finds ``ws``."""
    folder = tmp_path_factory.mktemp("node")
    reason = install_ws(folder)
    if reason is not None and os.environ.get("TESTS_REQUIRE_NODE") == "1":
        pytest.fail(f"TESTS_REQUIRE_NODE is set, but {reason}", pytrace=False)
    if reason is not None:
        pytest.skip(reason)
    return folder


@pytest_asyncio.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest, certificates: Path) -> AsyncIterator[Foreign]:
    """Each foreign client in turn."""
    folder = request.getfixturevalue("node") if request.param == "ws" else None
    async with open_client(request.param, Tools(folder, certificates / "ca.pem")) as client:
        yield client


@pytest.fixture
def site(servers: Servers) -> Site:
    return servers.get()


@pytest.fixture
def fresh(servers: Servers) -> Iterator[Site]:
    """A server of its own. Named before ``client``, it ends after it, and nobody keeps it waiting."""
    with servers.start() as site:
        yield site
