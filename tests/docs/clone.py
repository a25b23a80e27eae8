"""A copy of the sources after README's first command, and shells in which its commands run as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.cli.helpers import environment
from tests.docs.pages import ROOT

__all__ = ["ALONE", "FIRST", "add_packages", "alone_reason", "copy_sources", "make_clone", "plain"]

FIRST = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/fastws serve"

#: An application of the reader's own, as the commands name it.
FILES = {
    "chat/__init__.py": "",
    "chat/app.py": "import fastws\n\n\nasync def handler(ws):\n    async for message in ws:\n"
    '        await ws.send(message)\n\n\nroutes = [fastws.Route("/", handler)]\n',
    "main.py": 'async def app(scope, receive, send):\n    assert scope["type"] == "lifespan"\n'
    "    while True:\n        message = await receive()\n"
    '        await send({"type": message["type"] + ".complete"})\n'
    '        if message["type"] == "lifespan.shutdown":\n            return\n',
    "site/index.html": "hello\n",
}
#: Begins a command with a network and a /run of its own, as one who may use each port there.
ALONE = [
    "unshare",
    "-rnm",
    "sh",
    "-ec",
    'ip link set lo up; mount -t tmpfs run /run; mkdir /run/fastws; exec "$@"',
    "sh",
]


def alone_reason() -> str | None:
    """Why no command can be run so on this machine; None where it can."""
    possible = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    return f"no network of our own here: {possible.stderr.strip()}" if possible.returncode else None


def copy_sources(folder: Path) -> None:
    """Copy what is in the repository, without what was built from it."""
    named = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, named.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)


def make_clone(folder: Path) -> None:
    """Copy the sources and run the first command there, up to the server; add the reader's application."""
    copy_sources(folder)
    install = FIRST.removesuffix(" && .venv/bin/fastws serve")
    done = subprocess.run(["sh", "-c", install], cwd=folder, env=plain(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def add_packages(folder: Path, extras: Iterable[str], packages: Iterable[str]) -> None:
    """Install what extras need, without the project, which would be compiled again; and these packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [each for name in extras for each in project["optional-dependencies"][name]]
    wanted += packages
    if wanted:
        subprocess.run([folder / ".venv/bin/pip", "install", "-q", *wanted], env=plain(), check=True)


def plain(folder: Path | None = None) -> dict[str, str]:
    """A user's environment: with the folder's ``.venv`` activated, if there is a folder."""
    variables = environment()
    variables.pop("PYTHONPATH", None)
    if folder is not None:
        variables["PATH"] = os.pathsep.join([str(folder / ".venv" / "bin"), variables["PATH"]])
    return variables
