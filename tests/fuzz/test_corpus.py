"""Every input that fuzzing ever found worth keeping, crashes among them, again on every change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS, PYTHON_TARGETS
from tests.fuzz.targets import TARGETS, frames_client, frames_server, pieces
from tests.rows import all_rows


def inputs(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds(name: str) -> None:
    with all_rows() as row:
        for path in inputs(name):
            with row(path.name):
                TARGETS[name](path.read_bytes())


def test_the_inputs_of_the_c_target_hold_in_both_roles() -> None:
    with all_rows() as row:
        for path in inputs("frames_c"):
            data = path.read_bytes()
            for check in (frames_server, frames_client):
                with row(path.name, check.__name__):
                    check(data[1:])


def test_every_target_is_run() -> None:
    assert tuple(TARGETS) == PYTHON_TARGETS


def test_an_input_is_cut_as_its_first_byte_says() -> None:
    assert pieces(b"\x02abcde") == [b"ab", b"cd", b"e"]
    assert pieces(b"\x00ab") == [b"a", b"b"]
    assert pieces(b"") == []
