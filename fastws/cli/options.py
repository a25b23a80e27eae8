"""Options in sections, and the types of option values."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from fastws.web.hosts import parse_host
from fastws.web.origins import parse_origin
from fastws.workers.states import MAX_WORKERS

if TYPE_CHECKING:
    HeaderParam = click.ParamType[tuple[str, str]]
    AllowedHostParam = click.ParamType[str]
    FilesParam = click.ParamType[str]
    OriginParam = click.ParamType[str]
    TrustedParam = click.ParamType[tuple[str, ...]]
    WorkersParam = click.ParamType[int]
else:  # generic only since click 8.4
    AllowedHostParam = FilesParam = HeaderParam = OriginParam = TrustedParam = WorkersParam = click.ParamType

__all__ = [
    "ALLOWED_HOST",
    "FILES",
    "HEADER",
    "ORIGIN",
    "TRUSTED",
    "WORKERS",
    "AllowedHostType",
    "Command",
    "FilesType",
    "HeaderType",
    "OriginType",
    "Seconds",
    "TrustedType",
    "WorkersType",
    "adds",
    "arguments_of",
    "option",
    "seconds_or_never",
]

#: RFC 9110, section 5.6.2.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: Headers of the framing and the handshake: a fixed value would break all responses.
RESERVED = {"connection", "content-length", "transfer-encoding", "upgrade"}


class SectionedOption(click.Option):
    """An option with the heading under which ``--help`` shows it."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value in the environment, but not one that is no setting of ours (`is_service_link`)."""
        value = super().resolve_envvar_value(ctx)
        if value is None or not is_service_link(value):
            return value
        if not ctx.meta.get(WARNED):
            ctx.meta[WARNED] = True
            name = (self.name or "").upper()
            click.echo(
                f"fastws: {ctx.auto_envvar_prefix}_{name}={value} in the environment is a service link of "
                f"Kubernetes or Docker and not --{name.lower().replace('_', '-')}; it is passed over",
                err=True,
            )
        return None


#: The key of a context that has warned of a service link.
WARNED = "fastws.service_link"
#: What Kubernetes and Docker put in ``NAME_PORT`` for a service called ``name``.
SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://[^/\s]+:[0-9]+", re.IGNORECASE)


def is_service_link(value: str) -> bool:
    """True for the address of a service: a service called ``fastws`` puts it in ``FASTWS_PORT``."""
    return SERVICE_LINK.fullmatch(value.strip()) is not None


#: The key of a context that has the arguments of its command.
ARGUMENTS = "fastws.arguments"


def arguments_of(ctx: click.Context) -> list[str]:
    """Return the words that a `Command` was called with."""
    return list(ctx.meta.get(ARGUMENTS, ()))


class Command(click.Command):
    """A command whose ``--help`` shows the options under their headings."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        others = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if isinstance(param, SectionedOption) and record is not None:
                sections.setdefault(param.section, []).append(record)
            elif isinstance(param, click.Option) and record is not None:
                others.append(record)
        for heading, records in [*sections.items(), ("Other", others)]:
            with formatter.section(heading):
                formatter.write_dl(records)


def option(*declarations: str, section: str, **attributes: Any) -> Callable[[Any], Any]:
    """A ``click.option`` that ``--help`` shows under ``section``."""
    return click.option(*declarations, cls=SectionedOption, section=section, **attributes)


def adds(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a decorator that gives a command all of these options, in this order."""

    def add(command: Any) -> Any:
        for each in reversed(options):
            command = each(command)
        return command

    return add


def seconds_or_never(value: float) -> float | None:
    """Turn the 0 of the command line, which switches a timeout off, into ``None``."""
    return value or None


class HeaderType(HeaderParam):
    """``NAME:VALUE``, one header field (RFC 9110, section 5). In the environment: one on each line."""

    name = "NAME:VALUE"

    def split_envvar_value(self, rv: str) -> list[str]:
        return rv.splitlines()

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, colon, content = value.partition(":")
        content = content.strip(" \t")
        if not colon:
            self.fail(f"{value!r} has no colon; write NAME:VALUE", param, ctx)
        if not TOKEN.fullmatch(name):
            self.fail(f"{name!r} is not a header name", param, ctx)
        if name.lower() in RESERVED or name.lower().startswith("sec-websocket-"):
            self.fail(f"{name} is set by the protocol itself", param, ctx)
        if not is_field_value(content):
            self.fail(f"the value of {name} holds characters that no header can carry", param, ctx)
        return name, content


def is_field_value(text: str) -> bool:
    """True for a possible field value: Latin-1 without control characters (RFC 9110, section 5.5)."""
    return all(char == "\t" or " " <= char <= "~" or "\xa0" <= char <= "\xff" for char in text)


class FilesType(FilesParam):
    """A file. In the environment several: with ``os.pathsep`` between them, as in ``PATH``."""

    name = "FILE"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [rv] if os.path.exists(rv) else [path for path in rv.split(os.pathsep) if path]


class OriginType(OriginParam):
    """``scheme://host[:port]``, or ``*`` for all origins."""

    name = "ORIGIN"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_origin(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class AllowedHostType(AllowedHostParam):
    """A name, ``*.suffix``, or ``*`` for all hosts."""

    name = "HOST"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_host(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TrustedType(TrustedParam):
    """Addresses and networks with commas between them, or ``*``."""

    name = "IP,..."

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        trusted = tuple(part.strip() for part in value.split(",") if part.strip())
        for entry in trusted:
            try:
                if entry != "*":
                    ipaddress.ip_network(entry)
            except ValueError as error:
                self.fail(f"{error}; write addresses or networks, or * for all", param, ctx)
        return trusted


class Seconds(click.FloatRange):
    """A number of seconds, which ends: ``inf`` and ``nan`` are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


class WorkersType(WorkersParam):
    """A number of processes, or ``auto`` for as many as this process has cores."""

    name = "N"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value.strip().lower() == "auto":
            return min(usable_cores(), MAX_WORKERS)
        try:
            workers = int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)
        if not 1 <= workers <= MAX_WORKERS:
            self.fail(f"{workers} is not in the range 1<=x<={MAX_WORKERS}", param, ctx)
        return workers


def usable_cores() -> int:
    """The cores that this process may use, which taskset and cgroups may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


ALLOWED_HOST = AllowedHostType()
FILES = FilesType()
HEADER = HeaderType()
ORIGIN = OriginType()
TRUSTED = TrustedType()
WORKERS = WorkersType()
