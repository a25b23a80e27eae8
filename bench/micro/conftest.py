"""Keeps out of a baseline what says nothing about speed and something about whose machine it was."""

from __future__ import annotations

from typing import Any

KEPT = ("machine", "python_implementation", "python_version", "release")


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    brand = machine_info.get("cpu", {}).get("brand_raw", "")
    kept: dict[str, Any] = {name: machine_info[name] for name in KEPT if name in machine_info}
    machine_info.clear()
    machine_info.update({**kept, "cpu": {"brand_raw": brand}})


def pytest_benchmark_update_commit_info(config: Any, commit_info: dict[str, Any]) -> None:
    kept: dict[str, Any] = {name: commit_info[name] for name in ("id", "time") if name in commit_info}
    commit_info.clear()
    commit_info.update(kept)
