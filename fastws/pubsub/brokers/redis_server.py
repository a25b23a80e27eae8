"""What a Redis says of itself: whether it will do, and whether it still has what it had."""

from __future__ import annotations

from typing import Any, NamedTuple

from redis.exceptions import AskError, InvalidResponse, NoScriptError, RedisError, TryAgainError
from redis.exceptions import TimeoutError as RedisTimeout

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import BrokerRefused

__all__ = [
    "CLOSED",
    "FAILURES",
    "Server",
    "is_forbidden",
    "parsed_info",
    "refused",
    "server_of",
    "words_for",
    "words_of_connecting",
]

#: Streams came with 5.0.
OLDEST = (5, 0)
#: Channels of slots with this one.
SHARDED = (7, 0)
#: The policy of a server that deletes nothing by itself.
KEEPING = "noeviction"
NO_REPLICATION_ID = "0" * 40


class Server(NamedTuple):
    """A server that will do."""

    #: The name of its data's history: it changes when the server is started again, and when a replica takes
    #: over.
    identity: str
    #: True where a server that was only started again has all that it had confirmed.
    is_durable: bool
    #: True where channels belong to slots of a cluster.
    is_sharded: bool = False
    #: What it does where it is full, other than to say so; "": it says so.
    eviction: str = ""


def server_of(info: dict[str, Any], *, label: str, is_cluster: bool = False) -> Server:
    """Return what INFO tells. Raises :class:`BrokerUnavailable` for a server that will not do."""
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise BrokerUnavailable(f"{label}: Redis {version} is too old: 5.0 is needed")
    if info.get("loading") == "1":
        raise BrokerUnavailable(f"{label}: it is still loading its data")
    if info.get("role", "master") != "master":
        raise BrokerUnavailable(f"{label}: it is a replica, which may not be written to: name the master")
    if info.get("cluster_enabled") == "1" and not is_cluster:
        raise BrokerUnavailable(f"{label}: it is a node of a cluster: name it redis+cluster://")
    identity = info.get("master_replid") or info.get("run_id") or "unknown"
    # A replica that has taken over has a second name: what its master had confirmed last may be missing.
    has_taken_over = info.get("master_replid2", NO_REPLICATION_ID) != NO_REPLICATION_ID
    is_durable = info.get("aof_enabled") == "1" and not has_taken_over
    policy = str(info.get("maxmemory_policy", KEEPING))
    eviction = "" if policy == KEEPING else policy
    return Server(identity, is_durable, is_sharded=is_cluster and numbers >= SHARDED, eviction=eviction)


def parsed_info(answer: bytes) -> dict[str, Any]:
    """Return the fields of an answer to INFO."""
    lines = answer.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


#: What redis-py has a class for.
KINDS = {
    AskError: "another node of the cluster has a slot now",
    TryAgainError: "a slot of the cluster moves",
    NoScriptError: "it has forgotten the scripts",
}
#: What Redis says, by its first word, and what that means here.
MEANINGS = {
    "OOM": "it is full (maxmemory)",
    "READONLY": "it is a replica, which may not be written to",
    "MISCONF": "it cannot write to its disk",
    "NOPERM": "this user may not do that",
    "NOAUTH": "it asks for a password",
    "WRONGPASS": "wrong user or password",
    "LOADING": "it is still loading its data",
    "NOREPLICAS": "too few replicas follow it (min-replicas-to-write)",
    "MASTERDOWN": "it is a replica without its master",
    "MOVED": "it is a node of a cluster",
    "BUSY": "a script runs there for too long",
    "WRONGTYPE": "another program has a key with this name",
}


#: What goes wrong with a connection, also where no Redis is there.
FAILURES = (RedisError, OSError, EOFError, ValueError, MemoryError)
#: How redis-py says that a server has ended the connection; and all that is said of that: it is something
#: else where what was sent had not been read.
CLOSED = "Connection closed by server."
ENDED = (CLOSED, "Connection reset by peer", "Connection lost", "Broken pipe", "EOF occurred")
#: What OpenSSL says where a server answers without TLS, and where it takes nobody without a certificate.
NO_TLS = "WRONG_VERSION_NUMBER"
WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "CERTIFICATE REQUIRED", "ALERT_HANDSHAKE_FAILURE")


def words_for(error: BaseException) -> str:
    """Return an error in words: what it means, and what Redis has said."""
    for kind, meaning in KINDS.items():
        if isinstance(error, kind):
            return meaning
    text = (" ".join(str(error).split()) or type(error).__name__)[:300]
    low = text.lower()
    if "invalid password" in low or "invalid username-password" in low:
        return f"wrong user or password ({text})"
    if "authentication required" in low:
        return f"it asks for a password ({text})"
    for word, meaning in MEANINGS.items():
        if text.startswith(word) or f" {word} " in text:
            return f"{meaning} ({text})"
    for part, meaning in {
        "used memory > 'maxmemory'": MEANINGS["OOM"],
        "read only replica": MEANINGS["READONLY"],
        "no permissions": MEANINGS["NOPERM"],
        "user executing the script can't": MEANINGS["NOPERM"],
        "loading the dataset": MEANINGS["LOADING"],
    }.items():
        if part in low:
            return f"{meaning} ({text})"
    return text


def words_of_connecting(error: BaseException, *, is_tls: bool, has_certificate: bool) -> str:
    """Return in words why there is no connection."""
    if isinstance(error, (InvalidResponse, ValueError, MemoryError)):
        return "what is there does not speak Redis's protocol"
    text = words_for(error)
    if any(part in text for part in ENDED):
        if not is_tls:
            return f"{CLOSED} Does it want TLS, rediss://?"
        return CLOSED if has_certificate else f"{CLOSED} It may be that it asks for a certificate"
    if is_tls and (isinstance(error, RedisTimeout) or NO_TLS in text):
        return f"it does not speak TLS ({text})"
    if is_tls and any(part in text.upper() for part in WANTS_CERTIFICATE):
        return f"it asks for a certificate ({text})"
    return text


def is_forbidden(error: BaseException) -> bool:
    """True where this user may not do what was asked."""
    return words_for(error).startswith(MEANINGS["NOPERM"])


def refused(error: BaseException) -> BrokerRefused:
    """Return what is raised where Redis has refused one thing."""
    return BrokerRefused(words_for(error))
