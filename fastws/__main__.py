"""``python -m fastws`` is the ``fastws`` command."""

from __future__ import annotations

import sys

from fastws.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
