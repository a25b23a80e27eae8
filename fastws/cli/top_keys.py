"""Single keys from a terminal."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

__all__ = ["Keys"]

ARROWS = {b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down"}


class Keys:
    """Reads keys as they are pressed; as a context manager it gives the terminal back as it was."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno() if sys.stdin.isatty() else -1
        self._before: Any = None
        #: What was typed before and not taken yet.
        self._typed = b""

    def __enter__(self) -> Keys:
        if self._fd >= 0:
            import termios  # not above: Windows has none
            import tty

            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def read(self, seconds: float) -> str | None:
        """Return the next key, None where none was pressed in time."""
        if self._fd < 0:
            time.sleep(seconds)
            return None
        if not self._typed:
            if not select.select([self._fd], [], [], seconds)[0]:
                return None
            self._typed = os.read(self._fd, 1024)
            if not self._typed:
                raise KeyboardInterrupt  # the terminal has gone
        arrow = ARROWS.get(self._typed[:3])
        key = arrow or self._typed[:1].decode("ascii", "ignore")
        self._typed = self._typed[3 if arrow else 1 :]
        return key

    def line(self, prompt: str) -> str:
        """Ask for a line of text, letter by letter; Escape empties it."""
        text = ""
        while True:
            sys.stdout.write(f"\r\x1b[K{prompt}{text}")
            sys.stdout.flush()
            key = self.read(3600.0) or ""
            if key in ("\r", "\n"):
                return text
            if key == "\x1b":
                return ""
            text = text[:-1] if key in ("\x7f", "\b") else text + (key if key.isprintable() else "")
