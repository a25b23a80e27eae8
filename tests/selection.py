"""Which tests a run has, and in how many processes.

``pytest`` runs what one needs before a commit: everything but the tests marked ``system``, on all cores.
A test is ``system`` by its folder, or by a mark of its own, and runs when ``-m`` or a path asks for it. A
test marked ``measures`` runs while no other process of the same run has a test: neighbours change what it
measures.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["SYSTEM_COMMAND", "SYSTEM_FOLDERS", "must_be_alone"]

TESTS = Path(__file__).parent
#: Real servers, browsers, other programs, loads and faults: minutes, and a machine of their own.
SYSTEM_FOLDERS = ("autobahn", "bench", "browser", "chaos", "faults", "hostile", "live", "loadgen", "siege")
SYSTEM_COMMAND = "python -m pytest -m system"
#: More processes than that only collect the same tests once more.
MAX_PROCESSES = 4

left_out = pytest.StashKey[int]()
lock = pytest.StashKey[str]()
#: Whether no other process has a test now.
_alone = True


def must_be_alone() -> None:
    """Fail where a test measures beside others, since nobody has marked it."""
    assert _alone, "this test measures: mark it with @pytest.mark.measures"


# -- which tests --------------------------------------------------------------------------------


def is_system(path: Path) -> bool:
    """Whether a file or folder is one of SYSTEM_FOLDERS or in it."""
    return path.is_relative_to(TESTS) and path.relative_to(TESTS).parts[:1] in {
        (name,) for name in SYSTEM_FOLDERS
    }


def measures(item: pytest.Item) -> bool:
    return item.get_closest_marker("measures") is not None


def asks_for_system_tests(config: pytest.Config) -> bool:
    """Whether ``-m`` or a path says which tests are meant."""
    paths = (Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args)
    return bool(config.option.markexpr) or any(is_system(path.resolve()) for path in paths)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_system(item.path):
            item.add_marker(pytest.mark.system)
    system = [item for item in items if item.get_closest_marker("system") is not None]
    if system and not asks_for_system_tests(config):
        config.stash[left_out] = len(system)
        config.hook.pytest_deselected(items=system)
        items[:] = [item for item in items if item.get_closest_marker("system") is None]
    if hasattr(config, "workerinput"):
        # Last, so that processes seldom wait for each other.
        items.sort(key=measures)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each process of pytest-xdist has left out the same tests."""
    output = getattr(node, "workeroutput", {})
    if "left_out" in output:
        node.config.stash[left_out] = output["left_out"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash.get(left_out, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(left_out, 0):
        terminalreporter.section("system tests")
        terminalreporter.line(f"{count} were left out; to run them: {SYSTEM_COMMAND}")


# -- how many processes -------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Set ``-n`` where the whole default is run; a choice of tests runs in this process.

    With ``--cov`` say ``-n`` yourself: pytest-cov has looked at it before.
    """
    if hasattr(config, "workerinput"):
        return  # this is one of those processes
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    chosen = option.markexpr or option.keyword or getattr(option, "lf", False)
    in_one = option.capture == "no" or getattr(option, "cov_source", None)
    if whole and not chosen and not in_one and getattr(option, "numprocesses", 0) is None:
        option.numprocesses = min(os.cpu_count() or 1, MAX_PROCESSES)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the first process, for each that pytest-xdist starts."""
    config: pytest.Config = node.config
    if lock not in config.stash:
        file = tempfile.NamedTemporaryFile(prefix="fastws-tests-")  # noqa: SIM115 (until pytest ends)
        config.add_cleanup(file.close)
        config.stash[lock] = file.name
    node.workerinput["lock"] = config.stash[lock]


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Turns(Path(config.workerinput["lock"])))


class Turns:
    """A test that measures runs while no other process has a test: a lock of many readers or one writer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    # Outermost: a test's limit of time begins when it has its turn.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        import fcntl

        global _alone
        _alone = measures(item)
        fcntl.flock(self._file, fcntl.LOCK_EX if _alone else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def pytest_unconfigure(self) -> None:
        self._file.close()
