"""The other side of ``--control``: questions of ``fastws top`` and ``fastws ctl``."""

from __future__ import annotations

import os
import socket
from typing import Any

from fastws import json
from fastws.cli.errors import EXIT_FAILED, CannotStart, os_error_text

__all__ = ["Control", "Refused"]

#: Seconds for an answer: workers that hang are waited for three seconds.
SECONDS = 10.0


class Refused(CannotStart):
    """The server answers, and says no."""

    exit_code = EXIT_FAILED


class Control:
    """A line to a server's control socket; as a context manager it ends.

    Args:
        path: what ``--control`` says.

    Raises:
        CannotStart: nobody answers there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(SECONDS)
        try:
            self._sock.connect(os.fspath(path))
        except OSError as error:
            self._sock.close()
            raise CannotStart(f"no server answers at {path}: {os_error_text(error)}") from None
        self._file = self._sock.makefile("rb")

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        self._file.close()
        self._sock.close()

    def ask(self, ask: str, **values: Any) -> Any:
        """Return the answer. Raises `Refused` with what the server says, `CannotStart` where it has gone."""
        try:
            self._sock.sendall(json.dumps({"ask": ask, **values}) + b"\n")
            line = self._file.readline()
        except OSError as error:
            raise CannotStart(f"the server at {self._path} does not answer: {os_error_text(error)}") from None
        if not line:
            raise CannotStart(f"the server at {self._path} has closed: it ends, or you may not ask it")
        try:
            said = json.loads(line)
            if "error" in said:
                raise Refused(str(said["error"]))
            return said["answer"]
        except (ValueError, TypeError, KeyError):
            raise CannotStart(f"what answers at {self._path} is not fastws") from None
