"""Write the states of a connection into architecture.md, from the table in protocol/websocket/states.py.

``python docs/states.py`` rewrites the part between the markers; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from fastws.protocol.websocket.states import TRANSITIONS, State, Trigger

__all__ = ["PAGE", "rewritten"]

PAGE = Path(__file__).with_name("architecture.md")
BEGIN, END = "<!-- states:begin -->", "<!-- states:end -->"


def table() -> str:
    """Rows are states, columns what happens, cells the next state; an empty cell cannot happen."""
    head = f"| | {' | '.join(trigger.value for trigger in Trigger)} |"
    rule = "|---" * (len(Trigger) + 1) + "|"
    rows = []
    for state in State:
        cells = [TRANSITIONS.get((state, trigger)) for trigger in Trigger]
        rows.append(f"| **{state.name}** | {' | '.join(cell.name if cell else '' for cell in cells)} |")
    return "\n".join([head, rule, *rows])


def rewritten(page: str) -> str:
    """``page`` with the table of today between the markers."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
