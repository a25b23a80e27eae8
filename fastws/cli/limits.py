"""The options of ``fastws serve`` that are fields of ``Limits`` and ``Timeouts``: one row for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from fastws.cli.options import option, seconds_or_never
from fastws.config import Limits, Timeouts

__all__ = ["LIMITS", "TIMEOUTS", "Setting", "limit_options", "limits_of", "timeouts_of"]


class Setting(NamedTuple):
    """A field, and the option that sets it; ``unit`` is shown in place of its value."""

    field: str
    option: str
    unit: str
    help: str

    @property
    def key(self) -> str:
        """The name that click gives to the value."""
        return self.option.removeprefix("--").replace("-", "_")


LIMITS = [
    Setting(
        "max_message_size", "--ws-max-size", "BYTES", "Largest message taken from a client, decompressed."
    ),
    Setting("max_fragments", "--ws-max-fragments", "N", "Frames of one message."),
    Setting("max_empty_fragments", "--ws-max-empty-fragments", "N", "Empty fragments in a row."),
    Setting(
        "max_early_size", "--ws-max-early-size", "BYTES", "Of frames that come before a handshake's verdict."
    ),
    Setting(
        "receive_queue",
        "--ws-max-queue",
        "N",
        "Received messages that wait for a handler before reading pauses.",
    ),
    Setting("send_queue", "--ws-send-queue", "N", "Messages that may wait for a client that does not read."),
    Setting("send_queue_bytes", "--ws-send-queue-bytes", "BYTES", "Bytes that may wait for it."),
    Setting("max_head_size", "--limit-head-size", "BYTES", "A whole request head; 431 beyond it."),
    Setting("max_line_size", "--limit-line-size", "BYTES", "One line of it; 414 or 431 beyond it."),
    Setting("max_headers", "--limit-headers", "N", "Header lines of it; 431 beyond it."),
    Setting("max_body_size", "--limit-body-size", "BYTES", "A request body; 413 beyond it."),
    Setting("min_body_rate", "--limit-body-rate", "BYTES", "A second that a body must bring; 408 for less."),
    Setting(
        "pipelined_requests", "--limit-pipelined-requests", "N", "Of one connection, answered in one turn."
    ),
    Setting(
        "messages_per_second",
        "--limit-messages-per-second",
        "N",
        "Close a WebSocket (1008) that sends more messages in a second.",
    ),
    Setting(
        "bytes_per_second",
        "--limit-bytes-per-second",
        "BYTES",
        "Close a WebSocket (1008) that sends more bytes in a second.",
    ),
]

TIMEOUTS = [
    Setting("ping_interval", "--ws-ping-interval", "SECONDS", "Between two pings; 0 for none."),
    Setting("ping_timeout", "--ws-ping-timeout", "SECONDS", "For the pong to come; 0 to wait for ever."),
    Setting("tls_handshake", "--timeout-tls-handshake", "SECONDS", "For TLS to be agreed on; 0: for ever."),
    Setting(
        "handshake",
        "--timeout-handshake",
        "SECONDS",
        "For a whole request head, and for the verdict on an upgrade; 0: for ever.",
    ),
    Setting("body", "--timeout-body", "SECONDS", "Over which --limit-body-rate counts; 0: never."),
    Setting(
        "keep_alive", "--timeout-keep-alive", "SECONDS", "Between two requests of a connection; 0: for ever."
    ),
    Setting("close", "--timeout-close", "SECONDS", "For the other side of a close; 0: for ever."),
    Setting("write", "--timeout-write", "SECONDS", "For a socket to take something; 0: for ever."),
]

SECTIONS = {"ws": "WebSocket", "limit": "Limits", "timeout": "Timeouts"}


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all these options."""
    for settings, defaults, kind in (
        (TIMEOUTS, Timeouts(), click.FloatRange(0)),
        (LIMITS, Limits(), click.IntRange(1)),
    ):
        for setting in reversed(settings):
            command = option(
                setting.option,
                section=SECTIONS[setting.key.partition("_")[0]],
                type=kind,
                metavar=setting.unit,
                default=getattr(defaults, setting.field),
                help=setting.help,
            )(command)
    return command


def limits_of(options: dict[str, Any]) -> Limits:
    return Limits(**{setting.field: options[setting.key] for setting in LIMITS})


def timeouts_of(options: dict[str, Any]) -> Timeouts:
    return Timeouts(**{setting.field: seconds_or_never(options[setting.key]) for setting in TIMEOUTS})
