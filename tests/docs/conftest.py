"""The copy of the sources in which several modules run the commands of the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.clone import alone_reason, make_clone


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources after README's first command, with a ``chat.app`` and a ``main`` to serve."""
    if reason := alone_reason():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("clone")
    make_clone(folder)
    return folder
