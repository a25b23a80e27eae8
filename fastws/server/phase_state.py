"""Where the server's HTTP phase of one connection is."""

from __future__ import annotations

from enum import Enum

__all__ = ["PhaseState"]


class PhaseState(Enum):
    """What a connection does before it is a WebSocket. Each state names its deadline.

    The requests of a connection are answered one after the other, in order (RFC 9112, section 9.3.2): in
    RESPONDING, STREAMING and DECIDING what the client pipelined behind the request stays in the socket.
    """

    EXPECT_HEAD = "a request head is due, or a part of it is here"  #: ``timeouts.handshake``
    IDLE = "a response is out, and nothing of the next request is here"  #: ``timeouts.keep_alive``
    BODY = "a request head is here, its body is not"  #: the route's ``timeouts.body``
    RESPONDING = "an async endpoint works on its response"  #: none
    STREAMING = "the socket takes a large response, piece by piece"  #: ``timeouts.write``
    DECIDING = "an upgrade waits for its turn of the loop, or for authorize"  #: then ``timeouts.handshake``
    HANDED_OVER = "an application such as ASGI answers the request itself"  #: the application's
    ENDING = "the last response is given, and TCP ends when it is out"  #: ``timeouts.close``
