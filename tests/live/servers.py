"""Servers in processes of their own, on a free port of 127.0.0.1."""

from __future__ import annotations

import importlib.util
import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest import mock

import pytest

from tests.cli.helpers import Child, fastws, running
from tests.kit import until

__all__ = ["ENGINES", "LOOPS", "Servers", "Site", "child_environment", "make_certificates", "needs_engine"]

LOOPS = ("uvloop", "asyncio")
ENGINES = ("c", "wsproto")


@dataclass
class Site:
    """A running server; ``address`` is what its start line says to open."""

    child: Child
    address: str
    certificates: Path | None
    engine: str | None = None

    @property
    def pid(self) -> int:
        return self.child.process.pid

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def secure(self) -> bool:
        return self.certificates is not None

    def http(self, path: str) -> str:
        return self.address + path

    def ws(self, path: str) -> str:
        return self.address.replace("http", "ws", 1) + path

    def log(self) -> str:
        """Both logs so far."""
        return self.child.stdout() + self.child.stderr()

    async def logged(self, text: str) -> None:
        """Wait for a line with ``text``."""
        await until(lambda: text in self.log())

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """What a client needs to trust this server; None when it speaks plain TCP."""
        return None if self.certificates is None else self.trust(self.certificates)

    @staticmethod
    def trust(certificates: Path) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=certificates / "ca.pem")


def needs_engine(name: str) -> None:
    """Skip the test where the engine was not built; in CI that is a failure."""
    built = importlib.util.find_spec("fastws.protocol.websocket._frames") is not None
    if name == "c" and not built and os.environ.get("TESTS_REQUIRE_C") != "1":
        pytest.skip("the C engine is not built")


def make_certificates(folder: Path) -> Path:
    made = fastws("cert", "--directory", folder)
    assert made.returncode == 0, made.stderr
    return folder


@contextmanager
def child_environment(*, traced: bool = True, engine: str | None = None) -> Iterator[None]:
    """What a child started here inherits. ``traced=False``: it runs at its own speed, not coverage's."""
    with mock.patch.dict(os.environ):
        if engine is not None:
            os.environ["FASTWS_ENGINE"] = engine
        if not traced:
            for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]:
                del os.environ[name]
        yield


class Servers:
    """Starts servers and keeps them: the same settings get the same server.

    When they end, each must stop cleanly and must have logged no traceback.
    """

    def __init__(self, certificates: Path, folders: pytest.TempPathFactory) -> None:
        self._certificates = certificates
        self._folders = folders
        self._kept: dict[object, Site] = {}
        self._running = ExitStack()

    def get(
        self,
        *options: str,
        scheme: str = "ws",
        loop: str = "auto",
        engine: str | None = None,
        app: str | None = None,
        traced: bool = True,
    ) -> Site:
        """Return the server of these settings. ``traced=False``: never under coverage."""
        key = (options, scheme, loop, engine, app, traced)
        if key not in self._kept:
            self._kept[key] = self._running.enter_context(
                self.start(*options, scheme=scheme, loop=loop, engine=engine, app=app, traced=traced)
            )
        return self._kept[key]

    @contextmanager
    def start(
        self,
        *options: str,
        scheme: str = "ws",
        loop: str = "auto",
        engine: str | None = None,
        app: str | None = None,
        traced: bool = True,
        tracebacks: bool = False,
    ) -> Iterator[Site]:
        """Run a server of its own for as long as the block lasts; ``tracebacks`` may be in its log."""
        args = ["serve", "--port", "0", "--loop", loop, *([app] if app else []), *options]
        certificates = self._certificates if scheme == "wss" else None
        if certificates is not None:
            args += ["--ssl-certfile", str(certificates / "server.pem")]
            args += ["--ssl-keyfile", str(certificates / "server-key.pem")]
        with ExitStack() as stack:
            with child_environment(traced=traced, engine=engine):
                child = stack.enter_context(running(self._folders.mktemp("server"), *args))
            yield Site(child, child.address(), certificates, engine)
            if child.process.poll() is None:
                assert child.stop() == 0, child.stderr()
            assert tracebacks or "Traceback" not in child.stderr(), child.stderr()

    def close(self) -> None:
        self._running.close()
