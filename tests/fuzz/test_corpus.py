"""Every input that fuzzing ever found worth keeping, crashes among them, again on every change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS, PYTHON_TARGETS
from tests.fuzz.targets import TARGETS, frames_client, frames_server, pieces

INPUTS = [
    pytest.param(name, path, id=f"{name}-{path.name}")
    for name in TARGETS
    for path in sorted((CORPUS / name).iterdir())
]


@pytest.mark.parametrize(("name", "path"), INPUTS)
def test_what_must_hold_holds(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("path", sorted((CORPUS / "frames_c").iterdir()), ids=lambda path: path.name)
def test_the_inputs_of_the_c_target_hold_in_both_roles(path: Path) -> None:
    data = path.read_bytes()
    for check in (frames_server, frames_client):
        check(data[1:])


def test_every_target_is_run() -> None:
    assert tuple(TARGETS) == PYTHON_TARGETS


def test_an_input_is_cut_as_its_first_byte_says() -> None:
    assert pieces(b"\x02abcde") == [b"ab", b"cd", b"e"]
    assert pieces(b"\x00ab") == [b"a", b"b"]
    assert pieces(b"") == []
