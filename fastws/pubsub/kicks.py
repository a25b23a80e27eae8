"""Clients whose user is known, so that they can be sent away: here, and by processes that share the hub."""

from __future__ import annotations

from typing import Protocol

from fastws import json
from fastws.connection.publication import payload_of
from fastws.protocol.websocket.frames import Opcode, encode

__all__ = ["KICKS", "KnownClient", "KnownClients", "kick_frame"]

#: The topic by which processes tell each other. No client can ask for a name with a control character.
KICKS = "\0kicks"


class KnownClient(Protocol):
    """What a feed has of one client."""

    def kick(self, topic: str | None, reason: str) -> None:
        """Take a topic from the client; None: close it."""


class KnownClients:
    """Those of one hub, by the id of their user."""

    __slots__ = ("_clients",)

    def __init__(self) -> None:
        self._clients: dict[str, dict[KnownClient, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._clients)

    def add(self, user: str, client: KnownClient) -> None:
        """Note who a client is. Twice does no harm."""
        self._clients.setdefault(user, {})[client] = None

    def discard(self, user: str, client: KnownClient) -> None:
        """The client has gone."""
        clients = self._clients.get(user, {})
        clients.pop(client, None)
        if not clients:
            self._clients.pop(user, None)

    def kick(self, user: str, topic: str | None, reason: str) -> None:
        """Send all clients of a user away."""
        for client in list(self._clients.get(user, ())):
            client.kick(topic, reason)

    def receive(self, frame: bytes) -> None:
        """Do what another process says."""
        self.kick(*json.loads(payload_of(frame)))


def kick_frame(user: str, topic: str | None, reason: str) -> bytes:
    """Return what other processes are told."""
    return encode(Opcode.TEXT, json.dumps([user, topic, reason]))
