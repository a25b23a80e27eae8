"""What is compiled, which pyproject.toml cannot derive: the modules with a ``.pxd`` beside them, and all C.

The hot path is plain Python; a ``.pxd`` gives it types and Cython compiles it. The C that Cython writes goes
to build/, never beside the sources. Every extension is optional: without a compiler the install still works,
on the same sources interpreted.

A build should take less than a minute on two cores. Most of it is the C compiler's time, and much of that the
same few thousand lines which Cython writes into each module. What of these can be shared is a module of its
own that Cython writes, ``fastws._cyutility``: without it the compiler takes a third longer.

A module in C has one file or several. ``_name.c`` is the module and holds its ``PyInit__name``. The files
beside it that are called ``_name_PART.c`` are compiled and linked into the same extension. What the parts
share is declared in ``_name.h``. Each part is compiled alone: a function that the hot path must have inlined
in two parts is ``static inline`` in a header.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HEADERS = [str(path) for path in Path("fastws").rglob("*.h")]
# -g0: debug symbols would be seven eighths of the wheel.
# hidden: the parts of a module call each other directly, and no other library sees their functions.
FLAGS = [] if os.name == "nt" else ["-g0", "-fvisibility=hidden"]
JOBS = os.cpu_count() or 1
#: What runs once a connection or seldom, or gains nothing by more: the compiler takes half as long with
#: -O1, and a handshake 1 % more instructions. What runs for each message has -O2: with -O1 a
#: publish takes 5 % more, and -O3 takes the compiler a sixth longer for 0.5 % of an echo. Modules in C
#: have the level that Python itself is compiled with.
#: The fan-out has that level too: with -O2 a check of types is called for each subscriber.
HOT = {Path("fastws", "pubsub", "fanout.py")}
COLD = {
    Path("fastws", name)
    for name in (
        "connection/backlog.py",
        "connection/closing.py",
        "connection/congestion.py",
        "connection/fragments.py",
        "connection/lifetime.py",
        "connection/pausing.py",
        "connection/pings.py",
        "connection/websocket.py",
        "loop/admissions.py",
        "loop/state.py",
        "loop/timers.py",
        "protocol/http/chunked.py",
        "protocol/http/events.py",
        "protocol/http/fast_upgrade.py",
        "protocol/http/messages.py",
        "protocol/websocket/handshake.py",
        "pubsub/audience.py",
        "pubsub/bus/link.py",
        "pubsub/bus/peer.py",
        "pubsub/bus/records.py",
        "pubsub/history.py",
        "pubsub/hub_history.py",
        "pubsub/hub_keyed.py",
        "pubsub/hub_shared.py",
        "pubsub/keyed.py",
        "pubsub/keys.py",
        "pubsub/notes.py",
        "pubsub/numbered.py",
        "pubsub/registry.py",
        "pubsub/sequenced.py",
        "pubsub/topic.py",
        "pubsub/views.py",
        "server/http_phase.py",
        "server/requests.py",
        "server/responses.py",
        "server/site.py",
        "server/upgrade.py",
    )
}


def parts(source: Path) -> list[Path]:
    """The further files of the module ``source``."""
    return sorted(source.parent.glob(f"{source.stem}_*.c")) if source.suffix == ".c" else []


def extension(source: Path) -> Extension:
    name = ".".join(source.with_suffix("").parts)
    sources = [str(path) for path in [source, *parts(source)]]
    depends = HEADERS if source.suffix == ".c" else []
    flags = FLAGS
    if FLAGS and source.suffix == ".py":
        flags = FLAGS if source in HOT else [*FLAGS, "-O1" if source in COLD else "-O2"]
    # "." is for the headers of C that a .pxd names.
    return Extension(
        name, sources, depends=depends, include_dirs=["."], extra_compile_args=flags, optional=True
    )


def size(extension: Extension) -> int:
    return sum(Path(source).stat().st_size for source in extension.sources)


#: What Cython shares among the modules, for which it needs no source of ours.
SHARED = "fastws._cyutility"
shared = Extension(
    SHARED, ["fastws/_cyutility.c"], extra_compile_args=[*FLAGS, "-O1"] if FLAGS else [], optional=True
)

# The types of a module in C have a .pxd too.
hot_path = sorted(
    source for path in Path("fastws").rglob("*.pxd") if (source := path.with_suffix(".py")).is_file()
)
all_c = sorted(Path("fastws").rglob("_*.c"))
written_in_c = [path for path in all_c if not any(path in parts(other) for other in all_c)]

compiled = cythonize(
    [shared, *map(extension, hot_path)],
    build_dir="build/cython",
    nthreads=JOBS,
    quiet=True,
    shared_utility_qualified_name=SHARED,
    shared_utility_features_disabled=["MemoryView"],
)

setup(
    # The largest first: none is left to one core at the end.
    ext_modules=sorted([*map(extension, written_in_c), *compiled], key=size, reverse=True),
    options={"build_ext": {"parallel": JOBS}},
)
