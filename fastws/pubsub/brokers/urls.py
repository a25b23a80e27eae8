"""Which broker a URL names. Its module, and the library that this needs, are imported when it is used."""

from __future__ import annotations

import os
from importlib import import_module

from fastws.pubsub.brokers.base import Broker
from fastws.pubsub.brokers.redacting import redacted

__all__ = ["broker_at", "broker_in_environment", "check_broker", "is_broker_url", "read_broker_file"]

REDIS = ("fastws.pubsub.brokers.redis_broker", "RedisBroker", "redis", "redis[hiredis]")
NATS = ("fastws.pubsub.brokers.nats", "NatsBroker", "nats", "nats-py")
#: By scheme: the module, the class, and the extra that installs the library.
SCHEMES = {
    "redis": REDIS,
    "rediss": REDIS,
    "redis+unix": REDIS,
    "redis+sentinel": REDIS,
    "rediss+sentinel": REDIS,
    "redis+cluster": REDIS,
    "rediss+cluster": REDIS,
    "nats": NATS,
    "tls": NATS,
}


def is_broker_url(text: str) -> bool:
    """True for what :func:`broker_at` takes."""
    scheme, found, _ = text.partition("://")
    return bool(found) and scheme in SCHEMES


def check_broker(text: str) -> None:
    """Raise ``ValueError`` for a ``broker=`` that is none."""
    if text == "memory" or text.startswith("bus:/") or is_broker_url(text):
        return
    schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    raise ValueError(
        f"broker= is 'memory', 'bus:/PATH' with an absolute path, or a URL ({schemes}), "
        f"not {redacted(text)!r}"
    )


def broker_at(url: str) -> Broker:
    """Return the broker at a URL, which has not been started.

    Raises:
        ValueError: The URL is none that this broker takes.
        ImportError: The library that it needs is not installed; the text says how to get it.
    """
    scheme, _, _ = url.partition("://")
    module, name, extra, library = SCHEMES[scheme]
    try:
        found = getattr(import_module(module), name)
    except ImportError as error:
        text = f"{scheme}:// needs {library}: pip install 'fastws-server[{extra}]' ({error})"
        raise ImportError(text) from None
    broker: Broker = found(url)
    return broker


def broker_in_environment() -> str | None:
    """Return what ``FASTWS_BROKER`` says, or the first line of the file that ``FASTWS_BROKER_FILE`` names.

    Raises:
        ValueError: The file cannot be read, or is empty.
    """
    broker = os.environ.get("FASTWS_BROKER")
    path = os.environ.get("FASTWS_BROKER_FILE")
    if broker or not path:
        return broker or None
    return read_broker_file(path)


def read_broker_file(path: str) -> str:
    """Return the URL in a file. Raises ``ValueError`` where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            line = file.readline().strip()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"the file {path} with the URL of the broker cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} with the URL of the broker is no UTF-8") from None
    if not line:
        raise ValueError(f"the file {path} has no URL of a broker in its first line")
    return line
