"""Which fastws this is: its version, whether its hot path is compiled or interpreted, and how a child process
imports the same one.

Both builds are the same sources. The hot path is the modules with a ``.pxd`` beside them, in the tree and
in an installation. ``FASTWS_COMPILED=0`` takes the interpreted ones (to step through them, to measure
coverage), ``FASTWS_COMPILED=1`` refuses to start without the compiled ones.

Every ``import fastws`` runs this module, so it imports only what the interpreter has loaded anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)

__all__ = [
    "__version__",
    "child_command",
    "choose_build",
    "hot_path",
    "hot_path_state",
    "is_compiled",
    "warn_about_build",
]

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


def hot_path_state() -> str:
    """``compiled``, ``interpreted``, or how many modules of the hot path are compiled."""
    names = hot_path()
    compiled = 0 if os.environ.get("FASTWS_COMPILED") == "0" else sum(map(is_compiled, names))
    if compiled in (0, len(names)):
        return "compiled" if compiled else "interpreted"
    return f"partly compiled ({compiled} of {len(names)} modules)"


def child_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs ``module`` in a child process which imports this very fastws.

    ``python -m`` looks into the working directory first, and other sources of fastws may lie there. So the
    child gets the search path of this process, and the folder of this package by name. A warning about the
    build is for the parent.
    """
    code = (
        "import importlib.machinery, importlib.util, runpy, sys, warnings\n"
        f"sys.path[:] = {[os.path.abspath(entry) for entry in sys.path]!r}\n"
        f"spec = importlib.machinery.PathFinder.find_spec('fastws', [{_ROOT!r}])\n"
        "package = sys.modules['fastws'] = importlib.util.module_from_spec(spec)\n"
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('ignore')\n"
        "    spec.loader.exec_module(package)\n"
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
    )
    return [sys.executable, "-P", "-c", code, *arguments]


def warn_about_build() -> None:
    """Warn, in a source tree, where the compiled modules are not those of the sources, or are elsewhere."""
    if not os.path.isfile(os.path.join(_ROOT, "setup.py")):
        return
    names = hot_path()
    stale = [name for name in names if _is_stale(os.path.join(_ROOT, *name.split(".")))]
    if stale:
        _warn(
            f"edited after they were compiled, so that the old code runs: {', '.join(stale)}. "
            "Build again (python setup.py build_ext --inplace), or set FASTWS_COMPILED=0"
        )
    elif not any(map(is_compiled, names)) and (built := _shadowed_build(names)):
        _warn(
            f"{_PACKAGE} is not compiled, and hides the compiled fastws in {built}. Start the program from "
            "another folder or with python -P, or build here (python setup.py build_ext --inplace)"
        )


def _warn(text: str) -> None:
    import warnings

    # 4: the caller's caller is `fastws/__init__.py`, and the next one imports it.
    warnings.warn(text, RuntimeWarning, stacklevel=4)


def _shadowed_build(names: Sequence[str]) -> str | None:
    """The folder of another fastws that an import would find without this one, if it is compiled."""
    others = [entry for entry in sys.path if os.path.abspath(entry) != _ROOT]
    finders = [finder for finder in sys.meta_path if finder is not PathFinder]
    specs = (finder.find_spec("fastws", None) for finder in finders if hasattr(finder, "find_spec"))
    for spec in (PathFinder.find_spec("fastws", others), *specs):
        if spec is None or spec.origin is None:
            continue
        package = os.path.dirname(os.path.abspath(spec.origin))
        root = os.path.dirname(package)
        if package != _PACKAGE and any(_extension(os.path.join(root, *name.split("."))) for name in names):
            return package
    return None


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
        # One in C may have a .pxd too, for those that use its types.
        names = (name[:-4] for name in files if name.endswith(".pxd") and f"{name[:-4]}.py" in files)
        yield from (os.path.join(folder, name) for name in names)


def _extension(module: str) -> str | None:
    return next((path for suffix in EXTENSION_SUFFIXES if os.path.isfile(path := module + suffix)), None)


def _is_stale(module: str) -> bool:
    built = _extension(module)
    if built is None:
        return False
    edited = max(os.path.getmtime(module + ".py"), os.path.getmtime(module + ".pxd"))
    return edited > os.path.getmtime(built)
