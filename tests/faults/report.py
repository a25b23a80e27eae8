"""The rows' figures as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["markdown", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


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


def write_page(name: str, text: str) -> None:
    """Put ``text`` between the two comments of that name in ``docs/faults.md``."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    head, _, rest = PAGE.read_text().partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"{PAGE} has no place for {name}")
    PAGE.write_text(f"{head}{begin}\n{text}\n{end}{tail}")
