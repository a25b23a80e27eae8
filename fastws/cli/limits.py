"""The options of ``fastws serve`` for the fields of ``Limits`` and ``Timeouts``: one row for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from fastws.cli.options import Seconds, option, seconds_or_never
from fastws.config import Limits, Timeouts

__all__ = ["LIMITS", "TIMEOUTS", "Setting", "limit_options", "limits_of", "timeouts_of"]


class Setting(NamedTuple):
    """A field and the option that sets it. ``--help`` shows ``unit`` in place of the value."""

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
        "max_message_size",
        "--ws-max-size",
        "BYTES",
        "Largest message accepted from a client, after decompression.",
    ),
    Setting("max_fragments", "--ws-max-fragments", "N", "Most frames of one message."),
    Setting("max_empty_fragments", "--ws-max-empty-fragments", "N", "Most empty fragments in a row."),
    Setting(
        "max_early_size",
        "--ws-max-early-size",
        "BYTES",
        "Most bytes of frames that come before the handshake is accepted.",
    ),
    Setting(
        "receive_queue",
        "--ws-max-queue",
        "N",
        "Received messages that may wait for the handler; at this many reading pauses.",
    ),
    Setting("send_queue", "--ws-send-queue", "N", "Messages that may wait for a client that does not read."),
    Setting("send_queue_bytes", "--ws-send-queue-bytes", "BYTES", "Bytes that may wait for such a client."),
    Setting("max_head_size", "--limit-head-size", "BYTES", "Largest request head; 431 beyond it."),
    Setting(
        "max_line_size", "--limit-line-size", "BYTES", "Longest line of a request head; 414 or 431 beyond it."
    ),
    Setting("max_headers", "--limit-headers", "N", "Most header lines of a request; 431 beyond it."),
    Setting("max_body_size", "--limit-body-size", "BYTES", "Largest request body; 413 beyond it."),
    Setting(
        "min_body_rate", "--limit-body-rate", "BYTES", "Least bytes a second of a request body; 408 for less."
    ),
    Setting(
        "pipelined_requests",
        "--limit-pipelined-requests",
        "N",
        "Pipelined requests of a connection that are answered in one turn of the loop.",
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
    Setting("ping_interval", "--ws-ping-interval", "SECONDS", "Time between two pings; 0: no pings."),
    Setting("ping_timeout", "--ws-ping-timeout", "SECONDS", "For the pong to come; 0: for ever."),
    Setting("tls_handshake", "--timeout-tls-handshake", "SECONDS", "For the TLS handshake; 0: for ever."),
    Setting(
        "handshake",
        "--timeout-handshake",
        "SECONDS",
        "For a whole request head, and for a decision about an upgrade; 0: for ever.",
    ),
    Setting(
        "body", "--timeout-body", "SECONDS", "Period over which --limit-body-rate is measured; 0: never."
    ),
    Setting(
        "keep_alive", "--timeout-keep-alive", "SECONDS", "Between two requests of a connection; 0: for ever."
    ),
    Setting("close", "--timeout-close", "SECONDS", "For the client's part of a close; 0: for ever."),
    Setting("write", "--timeout-write", "SECONDS", "For a socket to take bytes; 0: for ever."),
]

SECTIONS = {"ws": "WebSocket", "limit": "Limits", "timeout": "Timeouts"}


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all these options to a command."""
    for settings, defaults, kind in (
        (TIMEOUTS, Timeouts(), Seconds(0)),
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
    """Return the limits that the options of a command ask for."""
    return Limits(**{setting.field: options[setting.key] for setting in LIMITS})


def timeouts_of(options: dict[str, Any]) -> Timeouts:
    """Return the timeouts that the options of a command ask for; 0 switches one off."""
    return Timeouts(**{setting.field: seconds_or_never(options[setting.key]) for setting in TIMEOUTS})
