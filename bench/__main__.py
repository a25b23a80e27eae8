"""``python -m bench``. Its packages are an extra of their own: a server needs none of them."""

import sys

try:
    from bench.cli import main
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] in ("bench", "fastws"):
        raise
    sys.exit(f"python -m bench: the package {error.name} is missing: pip install '.[plots]' here")

main(prog_name="python -m bench")
