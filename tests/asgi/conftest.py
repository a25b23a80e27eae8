"""The same application under each server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.asgi.sites import SERVERS, Site, running


@pytest.fixture(scope="session", params=SERVERS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same application under each server in turn."""
    with running(request.param, tmp_path_factory.mktemp("site")) as site:
        yield site
