"""Runs a Dockerfile without Docker: each instruction, in a copy of this machine's root for each stage.

A copy is an overlay of ``/`` that keeps its changes in memory, in a mount namespace of its own: nothing is
left. So the base image is this machine, with its Python and its Debian packages, whatever FROM says. All else
is done as it is written: COPY and RUN at their own paths, USER, WORKDIR and ENV, then CMD in a network of its
own. That needs root.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

__all__ = ["Instruction", "copy_context", "image_command", "inside", "instructions_of", "reason_not_to"]

#: Its name, and what follows that.
Instruction = tuple[str, str]

STAGE = """mkdir -p {stage}/upper {stage}/work {root}
mount -t overlay overlay -o lowerdir=/,upperdir={stage}/upper,workdir={stage}/work {root}
mount --rbind /dev {root}/dev
mount -t proc proc {root}/proc"""
#: That of an image: what a user has added to his own is not there.
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACE = ["unshare", "-m", "--propagation", "private", "sh", "-ec"]


def instructions_of(dockerfile: str) -> list[Instruction]:
    """The instructions; each has one line here."""
    pairs = [line.partition(" ") for line in dockerfile.splitlines() if line]
    return [(name, rest) for name, _, rest in pairs]


def reason_not_to(folder: Path) -> str | None:
    """Why this machine cannot run one; None where it can."""
    if os.geteuid() != 0:
        return "it needs root"
    script = "\n".join([f"mount -t tmpfs stages {folder}", _stage(folder / "0")])
    tried = subprocess.run([*NAMESPACE, script], capture_output=True, text=True)
    return f"no copy of this machine's root: {tried.stderr.strip()}" if tried.returncode else None


def copy_context(source: Path, target: Path, *, keep: str) -> None:
    """Copy what Docker would send to its engine: all but what ``.dockerignore`` names; ``keep`` too."""
    lines = (source / ".dockerignore").read_text(encoding="utf-8").split()
    left_out = [line.removeprefix("**/") for line in lines]
    assert keep in left_out
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(*left_out))
    shutil.copytree(source / keep, target / keep)


def image_command(instructions: list[Instruction], context: Path, folder: Path) -> list[str]:
    """The command that builds an image of ``context``, its stages in ``folder``, and becomes its CMD."""
    lines = [f"mount -t tmpfs stages {folder}"]
    stages: dict[str, Path] = {}
    root, user, place, settings = Path(), "root", "/", ""
    for name, rest in instructions:
        words = rest.split()
        if name == "FROM":
            stage = folder / str(len(stages))
            stages[words[-1] if "AS" in words else stage.name] = root = stage / "root"
            lines.append(_stage(stage))
            user, place, settings = "root", "/", ""
        elif name == "COPY":
            *options, source, target = words
            origin = stages[options[0].removeprefix("--from=")] if options else context
            lines += [f"mkdir -p {root}{target}", f"cp -a {origin / source.lstrip('/')}/. {root}{target}"]
        elif name == "WORKDIR":
            place = rest
            lines.append(f"mkdir -p {root}{place}")
        elif name == "USER":
            user = rest
        elif name == "ENV":
            settings = rest
        elif name in ("RUN", "CMD"):
            words = ["sh", "-c", rest] if name == "RUN" else json.loads(rest)
            enter = f"chroot --userspec={user} {root} env -C {place} {PATH} {settings} {shlex.join(words)}"
            if name == "CMD":
                enter = f"exec unshare -n sh -ec {shlex.quote(f'ip link set lo up; exec {enter}')}"
            lines.append(enter)
    return [*NAMESPACE, "\n".join(lines)]


def inside(process: int, command: list[str]) -> list[str]:
    """The command in the container whose CMD ``process`` is, as its user."""
    return [
        "nsenter",
        "-t",
        str(process),
        "-m",
        "-n",
        "--root",
        "--wd",
        "-S",
        "65534",
        "-G",
        "65534",
        *command,
    ]


def _stage(stage: Path) -> str:
    return STAGE.format(stage=stage, root=stage / "root")
