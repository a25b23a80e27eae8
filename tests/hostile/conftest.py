"""The servers of the live tests, to be attacked."""

from __future__ import annotations

from tests.live.conftest import certificates, servers

__all__ = ["certificates", "servers"]
