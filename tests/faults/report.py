"""The rows' figures as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["markdown"]


def markdown(results: Iterable[dict[str, Any]]) -> str:
    """One table of all checks, and below it what was said beside them."""
    lines = ["| row | what | measured | bound | held |", "|---|---|---|---|---|"]
    notes = []
    for result in results:
        form = "" if result["full"] else " (short)"
        for index, check in enumerate(result["checks"]):
            name = f"{result['row']}{form}" if index == 0 else ""
            held = "yes" if check["held"] else "**no**"
            cells = [name, check["what"], check["measured"], check["bound"], held]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        for note in result["notes"]:
            notes.append(f"- {result['row']}: {note}")
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"
