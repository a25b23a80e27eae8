"""What is compiled, which pyproject.toml cannot derive: the modules with a ``.pxd`` beside them, and all C.

The hot path is plain Python; a ``.pxd`` gives it types and Cython compiles it. The C that Cython writes goes
to build/, never beside the sources. Every extension is optional: without a compiler the install still works,
on the same sources interpreted.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HEADERS = [str(path) for path in Path("fastws").rglob("*.h")]
# Debug symbols would be seven eighths of the wheel.
FLAGS = [] if os.name == "nt" else ["-g0"]
JOBS = os.cpu_count() or 1


def extension(source: Path) -> Extension:
    name = ".".join(source.with_suffix("").parts)
    depends = HEADERS if source.suffix == ".c" else []
    return Extension(name, [str(source)], depends=depends, extra_compile_args=FLAGS, optional=True)


hot_path = sorted(path.with_suffix(".py") for path in Path("fastws").rglob("*.pxd"))
written_in_c = sorted(Path("fastws").rglob("*.c"))

setup(
    ext_modules=[
        *map(extension, written_in_c),
        *cythonize(list(map(extension, hot_path)), build_dir="build/cython", nthreads=JOBS, quiet=True),
    ],
    options={"build_ext": {"parallel": JOBS}},
)
