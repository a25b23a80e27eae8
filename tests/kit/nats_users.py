"""Users of a NATS server that are known by a key: what ``nsc`` writes, made for one test."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["credentials", "write_operator"]

NO_LIMITS = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)


class Key:
    """A key of an operator, an account or a user."""

    def __init__(self, kind: str) -> None:
        import nkeys

        self.kind = kind
        prefix = getattr(nkeys, f"PREFIX_BYTE_{kind.upper()}")
        self.seed = nkeys.encode_seed(os.urandom(32), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.name = bytes(self._pair.public_key).decode()

    def token(self, subject: Key, **claims: Any) -> str:
        """Return a JWT in which this key says something of another one."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        said = {"type": subject.kind, "version": 2, **claims}
        body = {"jti": "x", "iat": 1, "iss": self.name, "sub": subject.name, "name": "x", "nats": said}
        text = f"{_encoded(json.dumps(head).encode())}.{_encoded(json.dumps(body).encode())}"
        return f"{text}.{_encoded(self._pair.sign(text.encode()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def credentials(account: Key | None = None) -> str:
    """Return a file of credentials of a new user; without an account one that no server knows."""
    user = Key("user")
    token = (account or Key("account")).token(user, subs=-1, data=-1, payload=-1)
    parts = (("NATS USER JWT", token), ("USER NKEY SEED", user.seed.decode()))
    return "\n".join(f"-----BEGIN {name}-----\n{text}\n------END {name}------\n" for name, text in parts)


def write_operator(folder: Path) -> Key:
    """Write ``config`` of a server that knows users by their keys; return the account that they belong to."""
    operator, account = Key("operator"), Key("account")
    token = operator.token(account, limits={**NO_LIMITS, "wildcards": True})
    lines = f"operator: {operator.token(operator)}", "resolver: MEMORY"
    known = f"resolver_preload: {{ {account.name}: {token} }}"
    (folder / "config").write_text("\n".join((*lines, known)))
    return account
