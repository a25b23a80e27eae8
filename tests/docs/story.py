"""Runs the blocks of a page in their order, in one folder, as a reader would.

| kind | what becomes of the block |
|---|---|
| ``file NAME`` | is written to NAME, for the blocks that follow |
| ``server [NAME]`` | a Python program: runs until the next server or the end of the page |
| ``program [NAME]`` | a Python program: has to end with exit code 0 |
| ``shell [server]`` | commands: have to end with exit code 0; with ``server`` the last one runs on |
| ``output`` | what the program or the shell before it has printed; ``...`` stands for anything |
| ``fragment`` | Python with ``await``, run here; names stay for the fragments that follow |
| ``checked`` | commands for elsewhere: programs, options and values have to exist |
| ``nginx`` | the sites of an nginx, which is run with them (``nginx.py``) |
| ``systemd NAME`` | a unit file; systemd-analyze has to accept it |
| ``elsewhere TEST`` | TEST reads this page and runs the block |
| ``part FILE`` | is a part of FILE of the repository, as it stands there but for its indentation |
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import fastws
from tests.cli.helpers import PATIENCE, environment
from tests.docs.commands import check_commands
from tests.docs.pages import ROOT, Block, name_of
from tests.kit.ports import free_port

__all__ = ["KINDS", "Story"]

#: Numbers that the pages use as ports; each run takes free ones in their place.
PORT = re.compile(r"\b(?:8000|8080|8081|8443|8082|8765|8766|9000|9090)\b")
SECONDS = 30


class Story:
    """The folder, the ports and the running server of one page."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.ports: dict[str, str] = {}
        self.server: subprocess.Popen[bytes] | None = None
        self.printed = ""
        self.names: dict[str, Any] = {"asyncio": asyncio, "fastws": fastws, "__name__": "page"}
        self.runner = asyncio.Runner()
        self.environment = self._environment()

    def __enter__(self) -> Story:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.runner.close()

    def run(self, block: Block) -> None:
        KINDS[block.kind](self, block)

    # -- kinds ----------------------------------------------------------------------------------

    def file(self, block: Block) -> None:
        (name,) = block.arguments
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.ported(block.code), encoding="utf-8")
        if target.suffix == ".py":
            compile(block.code, block.place, "exec")

    def serve(self, block: Block) -> None:
        name = self._saved(block, "server.py")
        self.start(["python", name], self.ported(block.code))

    def program(self, block: Block) -> None:
        self.complete(["python", self._saved(block, "program.py")])

    def shell(self, block: Block) -> None:
        lines = self.ported(block.code).replace("\\\n", " ").splitlines()
        serving = lines.pop() if block.arguments == ("server",) else None
        if lines:
            self.complete(["bash", "-euo", "pipefail", "-c", "\n".join(lines)])
        if serving is not None:
            named = [self.folder / name for name in re.findall(r"[\w-]+\.py", serving)]
            text = "".join(file.read_text(encoding="utf-8") for file in named)
            self.start(["bash", "-c", f"exec env {serving}"], serving + text)

    def output(self, block: Block) -> None:
        pattern = ".*".join(re.escape(part) for part in self.ported(block.code).rstrip().split("..."))
        assert re.fullmatch(pattern, self.printed.rstrip(), re.DOTALL), f"printed: {self.printed!r}"

    def fragment(self, block: Block) -> None:
        code = compile(self.ported(block.code), block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

        async def run() -> None:
            async with asyncio.timeout(SECONDS):
                result = eval(code, self.names)
                if inspect.iscoroutine(result):
                    await result

        self.runner.run(run())

    def checked(self, block: Block) -> None:
        check_commands(block.code)

    def nginx(self, block: Block) -> None:
        from tests.docs.nginx import check_site

        check_site(self, block)

    def systemd(self, block: Block) -> None:
        (name,) = block.arguments
        # What the unit names is on another machine: only its place is taken by what is here.
        code = re.sub(
            r"^(ExecStart(?:Pre)?=)(\S+)", rf"\1{shutil.which('true')}", block.code, flags=re.MULTILINE
        )
        (self.folder / name).write_text(code, encoding="utf-8")
        for command in re.findall(r"^ExecStart(?:Pre)?=(.*)$", block.code, re.MULTILINE):
            check_commands(command)
        if shutil.which("systemd-analyze"):
            units = [unit.name for unit in self.folder.glob("*.service")]
            units += [unit.name for unit in self.folder.glob("*.socket")] if units else []
            self.complete(["systemd-analyze", "verify", "--man=no", *(f"./{unit}" for unit in units)])
            assert "Unknown" not in self.printed, self.printed

    def elsewhere(self, block: Block) -> None:
        (test,) = block.arguments
        text = (ROOT / test).read_text(encoding="utf-8")
        assert self.page.name in text, f"{test} does not read {name_of(self.page)}"

    def part(self, block: Block) -> None:
        (name,) = block.arguments
        whole = (ROOT / name).read_text(encoding="utf-8")
        assert any(
            textwrap.indent(block.code, indent, lambda line: bool(line.strip())) in whole
            for indent in (depth * " " for depth in (0, 4, 8, 12, 16))
        ), f"{block.place}: {name} has changed"

    # -- how they are run -----------------------------------------------------------------------

    def ported(self, code: str) -> str:
        """The code with a free port in place of each that the page uses."""
        return PORT.sub(lambda found: self.port(found[0]), code)

    def port(self, number: str) -> str:
        if number not in self.ports:
            self.ports[number] = str(free_port())
        return self.ports[number]

    def complete(self, command: list[str], **extra: str) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | extra,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout}"
        self.printed = done.stdout

    def start(self, command: list[str], text: str) -> None:
        """Start a server and wait until it listens on the port that ``text`` names, or on 8080."""
        self.stop()
        ports = [int(port) for port in self.ports.values() if port in text] or [int(self.port("8080"))]
        log = self.folder / "server.log"
        with log.open("wb") as out:
            self.server = server = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_for(lambda: server.poll() is not None or all(map(listens, ports)))
        assert server.poll() is None, f"the server ended: {log.read_text(encoding='utf-8')}"

    def stop(self) -> None:
        """Press Ctrl-C, as a reader does; the server must end without a word of Python's about it."""
        if self.server is None:
            return
        server, self.server = self.server, None
        server.send_signal(signal.SIGINT)
        try:
            server.wait(SECONDS)
        finally:
            server.kill()
            server.wait()
        log = (self.folder / "server.log").read_text(encoding="utf-8")
        # That of a handler that fails on purpose may be there.
        assert "KeyboardInterrupt" not in log and "CancelledError" not in log, log

    def _saved(self, block: Block, name: str) -> str:
        target = self.folder / (block.arguments[0] if block.arguments else name)
        target.write_text(self.ported(block.code), encoding="utf-8")
        return str(target)

    def _environment(self) -> dict[str, str]:
        """A shell in which ``python`` and ``fastws`` are those of this test run."""
        programs = self.folder / ".bin"
        programs.mkdir()
        for name, call in (("python", ""), ("fastws", " -m fastws")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{call} "$@"\n')
            program.chmod(0o755)
        return environment(PATH=os.pathsep.join([str(programs), os.environ["PATH"]]), HOME=str(self.folder))


def listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing listens"
        time.sleep(0.02)


KINDS: dict[str, Callable[[Story, Block], None]] = {
    "file": Story.file,
    "server": Story.serve,
    "program": Story.program,
    "shell": Story.shell,
    "output": Story.output,
    "fragment": Story.fragment,
    "checked": Story.checked,
    "nginx": Story.nginx,
    "systemd": Story.systemd,
    "elsewhere": Story.elsewhere,
    "part": Story.part,
}
