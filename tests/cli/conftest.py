"""The command in this process, for what it says before it does anything: that saves half a second."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from fastws.cli.main import main
from tests.cli.helpers import Result, environment
from tests.kit.logging_kept import logging_kept


@pytest.fixture
def fastws_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Run ``fastws ARGS`` in this process."""
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)

    def run(*args: object) -> Result:
        capsys.readouterr()
        line = [*map(str, args)]
        code = main(line)
        return Result(line, code, *capsys.readouterr())

    with logging_kept():
        yield run
