"""Bearer tokens, and the topics that each may publish to."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping

from fastws.pubsub.patterns import Pattern

__all__ = ["BadTokens", "TokenFile", "Tokens", "read_tokens"]

log = logging.getLogger("fastws.error")

#: Characters of a token: what is shorter can be guessed.
MIN_CHARACTERS, MAX_CHARACTERS = 16, 1024
MAX_TOKENS = 1000
MAX_FILE_BYTES = 2**20
#: Seconds between two looks whether a file has changed.
LOOK_SECONDS = 1.0


class BadTokens(ValueError):
    """The tokens cannot be used; the message says which one, and shows none."""


class Tokens:
    """Tokens with the patterns of their topics.

    Kept as digests under a key that only this process knows; a look-up compares all of them in constant time.

    Args:
        tokens: The patterns of each token, a list or a single one: ``rooms/*``, ``quotes/**``; all: ``**``.

    Raises:
        BadTokens: There is none, or too many; one is too short or no word, or has no pattern that is one.
    """

    def __init__(self, tokens: Mapping[str, str | Iterable[str]]) -> None:
        if not 1 <= len(tokens) <= MAX_TOKENS:
            raise BadTokens(f"there are 1 to {MAX_TOKENS} tokens, not {len(tokens)}")
        self._key = os.urandom(32)
        self._known: list[tuple[bytes, tuple[Pattern, ...]]] = []
        for number, (token, patterns) in enumerate(tokens.items(), 1):
            try:
                self._known.append((self._digest(_checked(token)), _patterns(patterns)))
            except ValueError as error:
                raise BadTokens(f"token {number}: {error}") from None

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32, key=self._key).digest()

    def patterns_of(self, token: str) -> tuple[Pattern, ...] | None:
        """Return the patterns of a token; None for one that is not known."""
        given = self._digest(token)
        found: tuple[Pattern, ...] | None = None
        for digest, patterns in self._known:
            if hmac.compare_digest(digest, given):
                found = patterns
        return found


class TokenFile:
    """The tokens of a file, which is read again within a second after it has changed.

    A file that cannot be used changes nothing, and is told once.

    Raises:
        BadTokens: It cannot be used.
        OSError: It cannot be read.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._mark = _mark(path)
        self._tokens = Tokens(read_tokens(path))
        self._look_at = clock() + LOOK_SECONDS

    def patterns_of(self, token: str) -> tuple[Pattern, ...] | None:
        """Return the patterns of a token; None for one that is not known."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        return self._tokens.patterns_of(token)

    def _look(self) -> None:
        try:
            mark = _mark(self._path)
            if mark == self._mark:
                return
            self._mark = mark
            self._tokens = Tokens(read_tokens(self._path))
            log.info("the tokens of %s are read again", self._path)
        except FileNotFoundError:
            if self._mark is not None:
                self._mark = None
                log.error("the tokens of %s hold on: the file is gone", self._path)
        except (OSError, ValueError) as error:
            log.error("the tokens of %s hold on: %s", self._path, error)


def read_tokens(path: str) -> dict[str, list[str]]:
    """Return the tokens of a file with their patterns: on each line a token, white space, its patterns.

    Empty lines and those that begin with ``#`` count for nothing.

    Raises:
        BadTokens: A line is none of this.
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        if stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode) and mode & (stat.S_IRWXO & ~stat.S_IXOTH):
            log.warning("the file of tokens %s can be read by every user of this machine: chmod 600", path)
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadTokens(f"the file has more than {MAX_FILE_BYTES} bytes")
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        raise BadTokens("the file is not UTF-8") from None
    tokens: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        token, *patterns = line.split() or ("#",)
        if token.startswith("#"):
            continue
        try:
            if token in tokens:
                raise ValueError("the token of another line")
            tokens[_checked(token)] = patterns
            _patterns(patterns)
        except ValueError as error:
            raise BadTokens(f"line {number}: {error}") from None
    return tokens


def _checked(token: str) -> str:
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("a token is a word of ASCII characters")
    if not MIN_CHARACTERS <= len(token) <= MAX_CHARACTERS:
        raise ValueError(f"a token has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters, not {len(token)}")
    return token


def _patterns(given: str | Iterable[str]) -> tuple[Pattern, ...]:
    patterns = tuple(map(Pattern, [given] if isinstance(given, str) else given))
    if not patterns:
        raise ValueError("no patterns of topics; ** is every topic")
    for pattern in patterns:
        pattern.check_names()
    return patterns


def _mark(path: str) -> tuple[int, int, int] | None:
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns, found.st_size
