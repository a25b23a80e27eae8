"""``python -m tests.fuzz.target NAME [option of libFuzzer ...]``: one target under atheris."""

from __future__ import annotations

import logging
import sys

import atheris


def main() -> None:
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["fastws", "h11", "wsproto"]):
        from tests.fuzz.targets import TARGETS
    logging.getLogger("fastws.access").disabled = True
    logging.getLogger("fastws.error").propagate = False
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
