"""The pytest plugin, in runs of pytest of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pytest.assertion.rewrite import AssertionRewriter

import fastws

pytest_plugins = ["pytester"]
PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


def test_the_first_test_of_the_page_with_its_settings_alone(pytester: pytest.Pytester) -> None:
    (settings,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    pytester.makeini(settings)
    pytester.makepyfile(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0])
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(INI)
    return pytester


def run(inner: pytest.Pytester, code: str, *arguments: str) -> pytest.RunResult:
    inner.makepyfile(code)
    return inner.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


ECHO = """
import asyncio
import sys
import fastws

async def echo(ws):
    async for message in ws:
        await ws.send(message)

async def silent(ws):
    await ws.wait_closed()
"""


def test_the_fixtures(inner: pytest.Pytester) -> None:
    code = """
async def test_pair(fastws_pair):
    async with fastws_pair(echo) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"

async def test_clock(fastws_pair, fastws_clock):
    async with fastws_pair(echo) as ws:
        await fastws_clock.advance(20.1)
        assert ws.latency == 0.0

async def test_server(fastws_server):
    async with fastws_server(echo) as site, fastws.connect(site.url) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"

def test_loop(fastws_loop):
    assert fastws_loop.run(asyncio.sleep(3600, "woke")) == "woke"
"""
    run(inner, ECHO + code).assert_outcomes(passed=4)


@pytest.mark.parametrize("how", ["marker", "ini"])
def test_a_wait_that_runs_out_fails_the_test_and_is_named(inner: pytest.Pytester, how: str) -> None:
    if how == "ini":
        inner.makeini(INI + "fastws_timeout = 0.2")
    marker = "@pytest.mark.fastws_timeout(0.2)" if how == "marker" else ""
    code = f"""
import pytest

{marker}
async def test_pair(fastws_pair):
    async with fastws_pair(silent) as ws:
        await ws.recv()

{marker}
async def test_server(fastws_server):
    async with fastws_server(silent) as site, fastws.connect(site.url) as ws:
        await ws.recv()
"""
    result = run(inner, ECHO + code, "--strict-markers", "--strict-config")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E*WaitTimeout: waited 0.2 s at *.py:*, `await ws.recv()`*"])


def test_who_does_not_ask_for_it_does_not_pay_for_it(inner: pytest.Pytester) -> None:
    """A run of pytest beside an installed fastws imports nothing of it but the plugin."""
    code = """
import sys

def test_nothing_is_imported():
    ours = {name for name in sys.modules if name.split(".")[0] == "fastws"}
    plugin = {"fastws.pytest_plugin", "fastws.testing", "fastws.testing.plugin"}
    assert ours <= {"fastws", "fastws._version"} | plugin
    assert "fastws.pytest_plugin" in ours
    assert "uvloop" not in sys.modules and "h11" not in sys.modules
"""
    result = run(inner, code, "-W", "error")
    result.assert_outcomes(passed=1)
    assert "warning" not in result.stdout.str()


def test_fastws_may_be_imported_before_pytest() -> None:
    """Pytest warns of packages of a plugin's distribution that it comes too late to rewrite, unless told."""
    assert AssertionRewriter.is_rewrite_disabled(fastws.__doc__ or "")


def test_the_options_are_listed(inner: pytest.Pytester) -> None:
    inner.runpytest_subprocess("--markers").stdout.fnmatch_lines(["@pytest.mark.fastws_timeout(seconds)*"])
    inner.runpytest_subprocess("--help").stdout.fnmatch_lines(["*fastws_timeout (string):*"])


def test_every_block_of_the_page_about_testing_passes(inner: pytest.Pytester) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 8 == PAGE.count("```") / 2 - 2  # a command, and the settings
    inner.makepyfile(**{f"test_block_{number}": block for number, block in enumerate(blocks)})
    tests = sum(len(re.findall(r"def test_", block)) for block in blocks)
    inner.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=tests)


def test_the_page_names_every_fixture(inner: pytest.Pytester) -> None:
    inner.makepyfile("")
    listed = inner.runpytest_subprocess("--fixtures").stdout.str()
    found = re.findall(r"^(fastws_\w+)", listed, re.MULTILINE)
    assert set(found) == set(re.findall(r"^\| `(fastws_\w+)` \|", PAGE, re.MULTILINE)) != set()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_a_pair_in_a_fixture(inner: pytest.Pytester, scope: str, loop: str) -> None:
    """The fixture's task has ended when the test waits; in a wider scope several tests follow it."""
    pytest.importorskip(loop)
    code = f"""
import asyncio, pytest, pytest_asyncio, {loop}
from fastws.testing import pair

@pytest.fixture(scope="session")
def event_loop_policy():
    return {"asyncio.DefaultEventLoopPolicy()" if loop == "asyncio" else "uvloop.EventLoopPolicy()"}

@pytest_asyncio.fixture(scope="{scope}", loop_scope="{scope}")
async def ws():
    async with pair(silent, timeout=0.2) as ws:
        yield ws

@pytest.mark.asyncio(loop_scope="{scope}")
async def test_receive(ws):
    await ws.recv()

@pytest.mark.asyncio(loop_scope="{scope}")
async def test_sleep(ws):
    await asyncio.sleep(600)

@pytest.mark.asyncio(loop_scope="{scope}")
async def test_short(ws):
    for _ in range(4):
        await asyncio.sleep(0.1)
"""
    result = run(inner, ECHO + code, "--timeout=30", "-W", "ignore::DeprecationWarning")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        ["*WaitTimeout: waited 0.2 s at test_a_pair_in_a_fixture.py*await ws.recv()*"]
    )
    result.stdout.fnmatch_lines(["*WaitTimeout: waited 0.2 s*asyncio.sleep(600)*"])
