"""``--log-config FILE``: logging as Python's own ``logging.config`` has it, in JSON, YAML, TOML or INI."""

from __future__ import annotations

import configparser
import importlib
import json
import logging.config
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastws.cli.errors import CannotStart, os_error_text

__all__ = ["configure_by_file", "read_log_config"]


def configure_by_file(path: str) -> None:
    """Configure logging. Loggers that the file does not name stay as they are.

    Raises:
        CannotStart: the file cannot be read, or says what cannot be.
    """
    values = read_log_config(path)
    try:
        if isinstance(values, dict):
            logging.config.dictConfig({"disable_existing_loggers": False, **values})
        else:
            logging.config.fileConfig(values, disable_existing_loggers=False)
    except Exception as error:  # what it names is called, and may raise anything
        raise CannotStart(f"--log-config {path}: {_told(error)}") from error


def read_log_config(path: str) -> dict[str, Any] | configparser.ConfigParser:
    """Read the file, and configure nothing. Raises `CannotStart`."""
    where = f"--log-config {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = _reader(Path(path).suffix.lower(), where)(text)
    except OSError as error:
        raise CannotStart(f"{where}: {os_error_text(error)}") from error
    except CannotStart:
        raise
    except Exception as error:  # yaml's own, too
        raise CannotStart(f"{where}: {_told(error)}") from error
    if not isinstance(values, (dict, configparser.ConfigParser)):
        raise CannotStart(f"{where}: it is no table of settings")
    return values


def _reader(suffix: str, where: str) -> Callable[[str], Any]:
    """Return what reads a file of that name."""
    match suffix:
        case ".json":
            return json.loads
        case ".toml":
            return tomllib.loads
        case ".yaml" | ".yml":
            try:
                return importlib.import_module("yaml").safe_load  # type: ignore[no-any-return]
            except ImportError:
                raise CannotStart(f"{where} needs PyYAML: pip install 'fastws-server[yaml]'") from None
    return _read_ini


def _read_ini(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return parser


def _told(error: Exception) -> str:
    """An error with its cause, in one line."""
    texts = [" ".join(str(each).split()) for each in (error, error.__cause__) if each is not None]
    return ": ".join(filter(None, texts)) or type(error).__name__
