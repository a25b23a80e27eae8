"""What ``fastws top`` shows."""

from __future__ import annotations

import sys
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

__all__ = ["Rates", "Screen"]

#: Columns where the view is no terminal's.
PIPE_WIDTH = 140
#: Lines of the head without its first, and of a table without its rows.
HEAD_LINES = 4
TABLE_LINES = 4
#: Lines that workers leave to clients, in a view of so many.
LEAST_LINES = 8
EVERYTHING = 1_000_000
#: Characters between two columns of clients, and before and behind all of them.
GAP, EDGES = 3, 2
#: Columns of clients that give way where the terminal is narrow, the first of them first.
GIVE_WAY = ("STATE", "OUT", "IN", "OPEN", "RTT", "DROPPED", "AGE", "PATH", "USER", "PEER")
#: Columns whose text may be cut, and to how many characters at least.
CUT, LEAST_CUT = ("USER", "PATH"), 8
#: Closes by code that are shown.
CLOSES_SHOWN = 8


class Rates:
    """The last two looks, and what has happened in a second between them."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {}
        self._before: dict[str, Any] = {}

    def take(self, found: dict[str, Any]) -> None:
        """Take a new look. A server that was started again has nothing to be compared with."""
        again = bool(self.now) and found["seconds"] < self.now["seconds"]
        self._before, self.now = found if again else self.now or found, found

    def of(self, name: str) -> float:
        """Return how much a total grows in a second; since the start, where there is one look only."""
        seconds = self.now["time"] - self._before["time"]
        before = self._before["totals"].get(name, 0)
        if seconds <= 0:
            seconds, before = max(self.now["seconds"], 0.001), 0
        return float((self.now["totals"].get(name, 0) - before) / seconds)

    def cpu(self, number: int) -> float | None:
        """Return the part of a core that a worker uses; None where it is not known."""
        seconds = self.now["time"] - self._before["time"]
        now, before = (
            next((each for each in look["workers"] if each["worker"] == number), None)
            for look in (self.now, self._before)
        )
        if now is None or before is None or seconds <= 0 or now["pid"] != before["pid"]:
            return None
        return float(now["cpu"] - before["cpu"]) / float(seconds)


class Screen:
    """Makes the view. ``selected`` is the number of a client, ``note`` a line for the person."""

    def __init__(self) -> None:
        self.selected = 0
        self.note = ""
        self._console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)

    def live(self) -> Any:
        """Return what draws the view again and again; where there is no terminal, one below the other."""
        if not self._console.is_terminal:
            return Pages(self._console)
        return Live(console=self._console, screen=True, auto_refresh=False)

    def print(self, rates: Rates, asked: dict[str, Any]) -> None:
        """Print one view."""
        self._console.print(self.view(rates, asked, selects=False))

    def view(self, rates: Rates, asked: dict[str, Any], *, selects: bool = True) -> Group:
        """Return the whole view."""
        found, console = rates.now, self._console
        parts: list[Any] = [head(rates)]
        if self.note:
            parts.append(Text(self.note, style="bold red", no_wrap=True, overflow="ellipsis"))
        # Of a terminal: what is below its last line, nobody sees.
        left = console.height - HEAD_LINES - len(parts) if selects and console.is_terminal else EVERYTHING
        if found["workers"] and left - len(found["workers"]) - TABLE_LINES >= LEAST_LINES:
            parts.append(workers(rates))
            left -= len(found["workers"]) + TABLE_LINES
        if found["clients"] or found.get("knows_clients", True):
            rows = max(left - TABLE_LINES - 1, 1)
            first = max(min(self.selected - rows // 2, len(found["clients"]) - rows), 0)
            shown = found["clients"][first : first + rows]
            selected = self.selected - first if selects else -1
            parts.append(clients(shown, asked, selected, console.width))
            left -= len(shown) + TABLE_LINES + 1
        if found["topics"] and left > TABLE_LINES:
            parts.append(topics(found["topics"][: left - TABLE_LINES]))
        return Group(*parts)


class Pages:
    """Prints each view; a context manager as ``Live`` is one."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave all as it is."""

    def update(self, view: Group, *, refresh: bool) -> None:
        """Print a view."""
        self._console.print(view)


def head(rates: Rates) -> Text:
    found, totals = rates.now, rates.now["totals"]
    states = ", ".join(f"{number} {state}" for state, number in found["states"].items() if number)
    closes = ", ".join(f"{code}: {number}" for code, number in list(found["closes"].items())[:CLOSES_SHOWN])
    return Text(
        f"fastws top   up {duration(found['seconds'])}   workers: {states or 'none'}\n"
        f"{found['websockets']:,} WebSockets, {found['connections']:,} connections; "
        f"{rates.of('websockets_opened'):,.1f} opened/s, {rates.of('websockets_closed'):,.1f} closed/s\n"
        f"in {rates.of('messages_received'):,.0f} messages/s {size(rates.of('bytes_received'))}/s, "
        f"out {rates.of('messages_sent'):,.0f} messages/s {size(rates.of('bytes_sent'))}/s\n"
        f"waiting {size(totals.get('queue_bytes', 0))}, dropped {totals.get('messages_dropped', 0):,}, "
        f"evicted {totals.get('evicted', 0):,}, limited {totals.get('limited', 0):,}\n"
        f"closes  {closes or 'none'}",
        no_wrap=True,
        overflow="ellipsis",
    )


def table(*columns: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    for name in columns:
        made.add_column(name, justify="left" if name in TEXTS else "right", no_wrap=True)
    return made


TEXTS = ("ID", "PEER", "USER", "PATH", "STATE", "HUB", "TOPIC")


def workers(rates: Rates) -> Table:
    made = table("WORKER", "PID", "WEBSOCKETS", "CPU", "IN", "OUT", "QUEUED")
    for each in rates.now["workers"]:
        counters, cpu = each["counters"], rates.cpu(each["worker"])
        made.add_row(
            str(each["worker"]),
            str(each["pid"]),
            f"{each['websockets']:,}",
            "-" if cpu is None else f"{cpu:.0%}",
            f"{counters['messages_received']:,}",
            f"{counters['messages_sent']:,}",
            size(counters["queue_bytes"]),
        )
    return made


def clients(found: list[dict[str, Any]], asked: dict[str, Any], selected: int, width: int) -> Table:
    rows = [client_row(each) for each in found]
    columns = ["ID", "PEER", "USER", "PATH", "STATE", "QUEUED", "AGE", "RTT", "IN", "OUT", "DROPPED", "OPEN"]
    if not any(each["user"] for each in found):
        columns.remove("USER")
    fit(columns, rows, width)
    made = table(*columns)
    made.title = f"clients by {asked['sort']}" + (f", with {asked['match']!r}" if asked["match"] else "")
    made.title_justify = "left"
    for number, row in enumerate(rows):
        made.add_row(*(row[name] for name in columns), style="reverse" if number == selected else "")
    return made


def client_row(each: dict[str, Any]) -> dict[str, str]:
    return {
        "ID": each["id"],
        "PEER": each["peer"],
        "USER": each["user"],
        "PATH": each["path"],
        "STATE": each["state"],
        "QUEUED": size(each["queued"]),
        "AGE": f"{each['age']:.1f} s" if each["age"] else "-",
        "RTT": "-" if each["rtt"] is None else f"{each['rtt'] * 1000:.1f} ms",
        "IN": f"{each['received']:,}",
        "OUT": f"{each['sent']:,}",
        "DROPPED": f"{each['dropped']:,}",
        "OPEN": duration(each["seconds"]),
    }


def fit(columns: list[str], rows: list[dict[str, str]], width: int) -> None:
    """Make the rows as narrow as ``width``: columns give way, and users and paths are cut."""

    def widest(name: str) -> int:
        return max(len(name), *(len(row[name]) for row in rows)) if rows else len(name)

    def room() -> int:
        """Characters that are left for what may be cut."""
        whole = sum(widest(name) for name in columns if name not in CUT)
        return width - whole - GAP * (len(columns) - 1) - EDGES

    def least() -> int:
        return sum(min(widest(name), LEAST_CUT) for name in CUT if name in columns)

    for name in GIVE_WAY:
        if room() >= least():
            break
        if name in columns:
            columns.remove(name)
    left = room()
    cut = sorted((name for name in CUT if name in columns), key=widest)
    for number, name in enumerate(cut):
        # The narrower one leaves what it does not need to the other.
        most = max(left // (len(cut) - number), 1)
        for row in rows:
            if len(row[name]) > most:
                row[name] = row[name][: most - 1] + "\u2026"
        left -= min(widest(name), most)


def topics(found: list[dict[str, Any]]) -> Table:
    made = table("HUB", "TOPIC", "LISTENERS")
    for each in found:
        made.add_row(each["hub"], each["topic"], f"{each['listeners']:,}")
    return made


def size(number: float) -> str:
    """Return bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def duration(seconds: float) -> str:
    """Return seconds as a person reads them."""
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    if days:
        return f"{days} d {rest // 3600} h"
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} m"
    return f"{whole // 60} m {whole % 60} s" if whole >= 60 else f"{whole} s"
