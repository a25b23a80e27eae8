"""Which build of the hot path runs: compiled by Cython where that was built, or interpreted.

Both are the same sources. ``FASTWS_COMPILED=0`` takes the interpreted ones (to step through them, to
measure coverage), ``FASTWS_COMPILED=1`` refuses to start without the compiled ones.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

__all__ = ["HOT_PATH", "choose", "is_compiled"]

#: The modules that are compiled, as listed in pyproject.toml.
HOT_PATH = (
    "fastws.connection",
    "fastws.context",
    "fastws.driver",
    "fastws.flusher",
    "fastws.hub",
    "fastws.inbox",
    "fastws.keepalive",
    "fastws.outbox",
    "fastws.poller",
    "fastws.protocol.chunks",
    "fastws.protocol.events",
    "fastws.protocol.handshake",
    "fastws.protocol.heads",
    "fastws.protocol.machine",
    "fastws.protocol.messages",
    "fastws.serving",
    "fastws.upgrades",
    "fastws.waiter",
    "fastws.websocket",
)


class _SourceFinder(MetaPathFinder):
    """Finds the hot path's sources where an extension module of the same name would come first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in HOT_PATH:
            return None
        for folder in path or ():
            spec = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(fullname)
            if spec is not None:
                return spec
        return None


def choose(mode: str) -> None:
    """Apply ``FASTWS_COMPILED``. Raises ImportError where it asks for what is not there."""
    if mode == "0":
        sys.meta_path.insert(0, _SourceFinder())
    elif mode == "1":
        missing = [name for name in HOT_PATH if not is_compiled(name)]
        if missing:
            raise ImportError(f"FASTWS_COMPILED=1, but these modules are not compiled: {', '.join(missing)}")
    elif mode:
        raise ImportError(f"FASTWS_COMPILED must be 0 or 1, not {mode!r}")


def is_compiled(name: str) -> bool:
    """True when importing the module ``name`` gives its compiled build."""
    parent = import_module(name.rpartition(".")[0])
    spec = PathFinder.find_spec(name, parent.__path__)
    return spec is not None and spec.origin is not None and not spec.origin.endswith(".py")
