"""Write the tables of settings.md and cli.md, from fastws/config.py and the commands.

``python docs/tables.py`` rewrites the parts between the markers; a test compares them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from fastws import config
from fastws.cli.main import COMMANDS

__all__ = ["PAGES", "rewritten"]

FOLDER = Path(__file__).parent
PAGES = (FOLDER / "settings.md", FOLDER / "cli.md")


def settings_table(name: str) -> str:
    """The fields of a dataclass with their defaults and the comments above them."""
    source = inspect.getsource(getattr(config, name))
    rows = ["| field | default | what it is |", "|---|---|---|"]
    for comment, field, default in re.findall(r"((?: +#: .*\n)*) +(\w+): [^=\n]+ = (.+)", source):
        words = " ".join(re.findall(r"#: (.*)", comment)) or OWN_WORDS[field]
        rows.append(f"| `{field}` | {shown(default)} | {words.replace('``', '`')} |")
    return "\n".join(rows)


#: Fields whose name says what they are; the tables want a sentence all the same.
OWN_WORDS = {
    "mem_level": "zlib's memory level, 1 to 9.",
    "context_takeover": "Keep the window between messages: smaller messages, about 300 KiB a connection.",
    "limits": "See above.",
    "timeouts": "See above.",
}


def shown(default: str) -> str:
    """A default as a reader wants it: products multiplied, numbers with their thousands apart."""
    try:
        value = eval(compile(ast.parse(default, mode="eval"), "default", "eval"), {"__builtins__": {}})
    except NameError:
        return f"`{default.removeprefix('DEFAULT_').capitalize()}()`" if default.isupper() else f"`{default}`"
    return f"`{value:,}`" if type(value) is int and value >= 1000 else f"`{value}`"


def cli_pages() -> str:
    """Each command: its usage, its words, its options under their headings."""
    return "\n\n".join(command_page(name) for name in COMMANDS)


def command_page(name: str) -> str:
    lazy = COMMANDS[name]
    command: click.Command = getattr(importlib.import_module(lazy.module), lazy.attribute)
    context = click.Context(command, info_name=f"fastws {name}", auto_envvar_prefix=None)
    usage = " ".join(["fastws", name, *command.collect_usage_pieces(context)])
    text = inspect.cleandoc(command.help or "").split("\b")
    parts = [f"## fastws {name}", f"`{usage}`", *map(str.strip, text), command.epilog or ""]
    sections: dict[str, list[str]] = {}
    for option in [] if hasattr(command, "options_of") else command.params:
        if isinstance(option, click.Option):
            sections.setdefault(getattr(option, "section", "Other"), []).append(option_row(option, context))
    for heading, rows in sections.items():
        parts.append(f"### {heading} ({name})")
        parts.append("\n".join(["| option | default | what it does |", "|---|---|---|", *rows]))
    return "\n\n".join(filter(None, parts))


def option_row(option: click.Option, context: click.Context) -> str:
    names = " / ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
    words = (option.help or "").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
    return f"| {names}{value.replace('|', ', ')} | {default_of(option)} | {words} |"


def default_of(option: click.Option) -> str:
    value = option.to_info_dict()["default"]
    if value in (None, (), "") or repr(value).startswith("Sentinel") or (option.is_flag and not value):
        return ""
    return f"`{value}`"


def parts_of(page: Path) -> Iterator[tuple[str, str]]:
    if page.name == "cli.md":
        yield "cli", cli_pages()
    else:
        for name in ("Limits", "Timeouts", "Compression", "Settings"):
            yield name, settings_table(name)


def rewritten(page: Path) -> str:
    """The text of ``page`` with the tables of today between its markers."""
    text = page.read_text(encoding="utf-8")
    for name, table in parts_of(page):
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rewritten(page), encoding="utf-8")
