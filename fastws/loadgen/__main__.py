"""A generator process. ``fastws bench`` starts it; see worker.py."""

from __future__ import annotations

from fastws.loadgen.worker import main

if __name__ == "__main__":
    main()
