"""Which fastws this is: its version, and whether its hot path is compiled or interpreted.

Both builds are the same sources. The hot path is the modules with a ``.pxd`` beside them, in the tree and
in an installation. ``FASTWS_COMPILED=0`` takes the interpreted ones (to step through them, to measure
coverage), ``FASTWS_COMPILED=1`` refuses to start without the compiled ones.

Every ``import fastws`` runs this module, so it imports only what the interpreter has loaded anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader

__all__ = ["__version__", "choose_build", "hot_path", "is_compiled", "warn_if_stale"]

#: The build reads it without importing the package.
__version__ = "0.1.0"

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(_PACKAGE)


def hot_path() -> list[str]:
    """Return the names of the modules that are compiled where that is possible."""
    return sorted(os.path.relpath(path, _ROOT).replace(os.sep, ".") for path in _hot_path())


def is_compiled(name: str) -> bool:
    """True when the module ``name`` has a compiled build, which importing it gives."""
    return _extension(os.path.join(_ROOT, *name.split("."))) is not None


def choose_build(mode: str) -> None:
    """Apply ``FASTWS_COMPILED``. Raises ``ImportError`` where it asks for what is not there."""
    if mode == "0":
        sys.meta_path.insert(0, _SourceFinder())
    elif mode == "1":
        missing = [name for name in hot_path() if not is_compiled(name)]
        if missing:
            raise ImportError(f"FASTWS_COMPILED=1, but these modules are not compiled: {', '.join(missing)}")
    elif mode:
        raise ImportError(f"FASTWS_COMPILED must be 0 or 1, not {mode!r}")


def warn_if_stale() -> None:
    """Warn, in a source tree, about compiled modules whose source was edited after the build."""
    if not os.path.isfile(os.path.join(_ROOT, "setup.py")):
        return
    stale = [name for name in hot_path() if _is_stale(os.path.join(_ROOT, *name.split(".")))]
    if stale:
        import warnings

        names = ", ".join(stale)
        warnings.warn(
            f"edited after they were compiled, so that the old code runs: {names}. "
            "Build again (python setup.py build_ext --inplace), or set FASTWS_COMPILED=0",
            RuntimeWarning,
            stacklevel=3,
        )


class _SourceFinder:
    """Finds the hot path's sources where an extension module of the same name would come first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        name = fullname.rpartition(".")[2]
        if fullname.startswith("fastws."):
            for folder in path or ():
                if os.path.isfile(os.path.join(folder, f"{name}.pxd")):
                    return FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(fullname)
        return None


def _hot_path() -> Iterator[str]:
    """The paths of the hot path's modules, without a suffix."""
    for folder, _, files in os.walk(_PACKAGE):
        yield from (os.path.join(folder, name[:-4]) for name in files if name.endswith(".pxd"))


def _extension(module: str) -> str | None:
    return next((path for suffix in EXTENSION_SUFFIXES if os.path.isfile(path := module + suffix)), None)


def _is_stale(module: str) -> bool:
    built = _extension(module)
    if built is None:
        return False
    edited = max(os.path.getmtime(module + ".py"), os.path.getmtime(module + ".pxd"))
    return edited > os.path.getmtime(built)
