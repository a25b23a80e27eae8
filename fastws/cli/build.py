"""What runs here, in words: the engine, the build of the hot path, the event loop."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from fastws._version import hot_path_state
from fastws.cli.errors import CannotStart
from fastws.loop.event_loops import loop_name

__all__ = ["build_text"]


def build_text(loop: str = "auto") -> str:
    """For example ``engine c, hot path compiled, loop uvloop 0.23.0``. ``loop`` is the option ``--loop``.

    Raises CannotStart where ``FASTWS_ENGINE`` asks for an engine that is not there.
    """
    try:
        from fastws.protocol.websocket.frames import ENGINE
    except ImportError as error:
        raise CannotStart(str(error)) from error
    return f"engine {ENGINE}, hot path {hot_path_state()}, loop {loop_text(loop_name(loop))}"


def loop_text(name: str) -> str:
    """The name, with the version of a loop that is not Python's own."""
    try:
        return f"{name} {version(name)}" if name == "uvloop" else name
    except PackageNotFoundError:
        return name
