"""The version, alone in a file that the build reads without importing the package."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
