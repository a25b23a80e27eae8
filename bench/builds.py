"""Building what is not Python: C with the system's compiler, Go with Debian's package, node's one package."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = [
    "NotInstalled",
    "c_program",
    "go_program",
    "node_program",
    "prepare_node",
    "python_package",
    "tool_version",
]

SERVERS = Path(__file__).parent / "servers"
BUILD = Path(__file__).parent / ".build"
#: Where Debian's golang-github-gorilla-websocket-dev puts its sources.
GOPATH = "/usr/share/gocode"


class NotInstalled(Exception):
    """A rival cannot be measured here; the text says what is missing, for the report's row."""


def python_package(name: str) -> str:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise NotInstalled(f"the Python package {name} is not installed") from None


def tool_version(*argv: str) -> str:
    """The first line that a program says about itself."""
    if shutil.which(argv[0]) is None:
        raise NotInstalled(f"{argv[0]} is not installed")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise NotInstalled(f"{' '.join(argv)} failed")
    return done.stdout.partition("\n")[0].strip()


def c_program(source: str) -> Path:
    """Compile ``servers/NAME.c`` unless that has been done since it last changed."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise NotInstalled("no C compiler is installed")
    path = SERVERS / source
    if not path.exists():
        raise NotInstalled(f"{source} is not there")
    return _build(path, [*compiler, "-O3", "-march=native", "-o"])


def go_program(folder: str) -> Path:
    """Build ``servers/FOLDER/main.go`` against the sources of Debian's package."""
    if shutil.which("go") is None:
        raise NotInstalled("Go is not installed")
    if not Path(GOPATH, "src/github.com/gorilla/websocket").is_dir():
        raise NotInstalled("the Debian package golang-github-gorilla-websocket-dev is not installed")
    env = {"GO111MODULE": "off", "GOPATH": GOPATH}
    return _build(SERVERS / folder / "main.go", ["go", "build", "-o"], env)


def node_program() -> list[str]:
    """The command of the node rival, once ``npm ci`` has run in its folder."""
    if shutil.which("node") is None:
        raise NotInstalled("node is not installed")
    if not (SERVERS / "node/node_modules/ws").is_dir():
        raise NotInstalled("the npm package ws is not installed (python -m bench prepare)")
    return ["node", str(SERVERS / "node/server.js")]


def prepare_node() -> None:
    """Install the pinned npm package into ``servers/node``. The only step that needs a registry."""
    if shutil.which("npm") is None:
        raise NotInstalled("npm is not installed")
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=SERVERS / "node", capture_output=True, text=True)
    if done.returncode != 0:
        raise NotInstalled(f"npm ci failed: {_last_line(done.stderr)}")


def _build(source: Path, command: list[str], env: dict[str, str] | None = None) -> Path:
    target = BUILD / f"{source.parent.name}-{source.stem}"
    parts = [source, *source.parent.glob("*.h")]
    if target.exists() and target.stat().st_mtime > max(part.stat().st_mtime for part in parts):
        return target
    BUILD.mkdir(exist_ok=True)
    # Built beside the target and renamed: two runners at once never start half a program.
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    done = subprocess.run(
        [*command, str(fresh), str(source)],
        capture_output=True, text=True, cwd=source.parent, env={**os.environ, **(env or {})},
    )  # fmt: skip
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise NotInstalled(f"{source.name} does not build here: {_last_line(done.stderr)}")
    fresh.replace(target)
    return target


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no output"
