"""A client that says several things in one breath: all its frames in a single write."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from websockets.client import ClientProtocol
from websockets.uri import parse_uri

__all__ = ["say"]


def say(url: str, messages: list[str], authority: Path) -> None:
    """Connect to a WebSocket at ``url``, send ``messages`` in one write, and close.

    The server reads them together, so the chat joins them for everybody (behaviour item 8).
    """
    uri = parse_uri(url)
    protocol = ClientProtocol(uri)
    with socket.create_connection((uri.host, uri.port), timeout=10) as plain:
        context = ssl.create_default_context(cafile=authority)
        sock = context.wrap_socket(plain, server_hostname=uri.host) if uri.secure else plain
        protocol.send_request(protocol.connect())
        sock.sendall(b"".join(protocol.data_to_send()))
        while protocol.state.name == "CONNECTING":
            protocol.receive_data(sock.recv(65_536))
        assert protocol.handshake_exc is None, protocol.handshake_exc
        for message in messages:
            protocol.send_text(message.encode())
        protocol.send_close(1000)
        sock.sendall(b"".join(protocol.data_to_send()))
        while not protocol.close_expected() and (data := sock.recv(65_536)):
            protocol.receive_data(data)
        sock.close()
