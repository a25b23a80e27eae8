"""What every Python rival shares: its arguments and its ready line. No WebSocket in here."""

from __future__ import annotations

import ssl
import sys

HOST = "127.0.0.1"
#: Large enough for every cell of the matrix; each rival is told so in its own words.
MAX_MESSAGE = 16 * 1024 * 1024


def arguments() -> tuple[int, tuple[str, str] | None]:
    """``PORT [CERTFILE KEYFILE]`` from the command line."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    if len(words) not in (1, 3):
        raise SystemExit(f"usage: {sys.argv[0]} PORT [CERTFILE KEYFILE]")
    return int(words[0]), (words[1], words[2]) if len(words) == 3 else None


def tls_context(files: tuple[str, str] | None) -> ssl.SSLContext | None:
    """The standard library's server context, as its own default makes it."""
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def ready(port: int) -> None:
    """Tell a person (or a script) that connections are accepted from now on."""
    print(f"ready {port}", flush=True)
