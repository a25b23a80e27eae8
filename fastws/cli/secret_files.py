"""Secrets that stand in files, such as those that systemd, Docker and Kubernetes mount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastws.cli.errors import CannotStart, os_error_text

__all__ = ["key_password", "secret_lines"]


def secret_lines(option: str, given: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return secrets that were given, and then each line of these files that is not empty.

    ``option`` names the files for messages, which never hold a secret. Raises `CannotStart` for a file that
    cannot be read, or holds none.
    """
    found = list(given)
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line for line in file.read().splitlines() if line]
        except OSError as error:
            raise CannotStart(f"{option} {path}: {os_error_text(error)}") from error
        except UnicodeDecodeError:
            raise CannotStart(f"{option} {path} is no UTF-8") from None
        if not lines:
            raise CannotStart(f"{option} {path} is empty")
        found += lines
    return found


def key_password(options: Mapping[str, Any]) -> str | None:
    """Return the password of a key: the one that was given, else the first line of its file."""
    given: str | None = options["ssl_keyfile_password"]
    path = options["ssl_keyfile_password_file"]
    if given is not None or path is None:
        return given
    return secret_lines("--ssl-keyfile-password-file", (), [path])[0]
