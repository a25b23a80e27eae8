"""Write the reference of the feed protocol into feeds.md, from the table in feed/table.py.

``python docs/feed_protocol.py`` rewrites the part between the markers; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

from fastws.feed.protocol import MAX_COMMAND_BYTES, MAX_COMMANDS_PER_SECOND, MAX_TOPICS, REPLAY_BYTES, Close
from fastws.feed.table import CLOSES, COMMANDS, ERRORS, MESSAGES

__all__ = ["PAGE", "rewritten"]

PAGE = Path(__file__).with_name("feeds.md")
BEGIN, END = "<!-- protocol:begin -->", "<!-- protocol:end -->"


def code(text: str) -> str:
    """JSON in a cell of a table."""
    return f"`{text.replace('|', chr(92) + '|')}`"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(
        [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def reference() -> str:
    """The three tables of the protocol."""
    size = f"{MAX_COMMAND_BYTES // 1024} KiB a command"
    rates = f"{MAX_COMMANDS_PER_SECOND} commands a second and {MAX_TOPICS} topics"
    replays = f"{REPLAY_BYTES // 2**20} MiB"
    parts = [
        f"**What clients say.** At most {size}, {rates}. Clients of one address are sent {replays} of what "
        "topics keep in a minute.",
        table(("a client says", "answer"), [(code(row.text), row.answer) for row in COMMANDS]),
        "**What the server says.**",
        table(("the server says", "meaning"), [(code(row.text), row.rule) for row in MESSAGES]),
        "**Errors** have one of these codes, or one of the application's own. The connection stays.",
        table(("code", "when"), [(f"`{name}`", rule) for name, rule in ERRORS.items()]),
        "**Close codes** (RFC 6455, section 7.4):",
        table(
            ("code", "when", "the client comes back"), [(f"{int(close)}", *CLOSES[close]) for close in Close]
        ),
    ]
    return "\n\n".join(parts)


def rewritten(page: str) -> str:
    """``page`` with the reference of today between the markers."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
