"""The states of a connection, and the one table of what moves it from a state to the next."""

from __future__ import annotations

from enum import Enum

__all__ = ["TRANSITIONS", "State", "Trigger"]


class State(Enum):
    """Where one connection is. Server and client share the states from OPEN on."""

    HTTP = "HTTP"  #: server: a request or its response is under way, or neither is
    DECIDING = "DECIDING"  #: server: a request to upgrade waits for the application's decision
    CONNECTING = "CONNECTING"  #: client: the request to upgrade was sent, no response has come yet
    OPEN = "OPEN"  #: messages flow
    CLOSING = "CLOSING"  #: our close frame was sent, the peer's has not come yet
    DRAINING = "DRAINING"  #: nothing more is parsed; what is owed is written, then TCP ends
    CLOSED = "CLOSED"  #: TCP has ended

    # The hash of Enum is a function in Python, and each transition needs two hashes.
    __hash__ = object.__hash__


class Trigger(Enum):
    """What moves a connection from one state to the next."""

    UPGRADE = "a request to upgrade"
    ACCEPT = "101"
    REFUSE = "a response other than 101, and close"
    LOCAL_CLOSE = "our close frame"
    PEER_CLOSE = "the peer's close frame"
    FAIL = "a violation by the peer"
    EOF = "the end of TCP"

    __hash__ = object.__hash__


HTTP, DECIDING, CONNECTING = State.HTTP, State.DECIDING, State.CONNECTING
OPEN, CLOSING, DRAINING, CLOSED = State.OPEN, State.CLOSING, State.DRAINING, State.CLOSED

UPGRADE, ACCEPT, REFUSE, EOF = Trigger.UPGRADE, Trigger.ACCEPT, Trigger.REFUSE, Trigger.EOF
LOCAL_CLOSE, PEER_CLOSE, FAIL = Trigger.LOCAL_CLOSE, Trigger.PEER_CLOSE, Trigger.FAIL

#: Every transition there is. Any other pair cannot happen, and raises ``KeyError``.
TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (HTTP, UPGRADE): DECIDING,
    (HTTP, REFUSE): DRAINING,
    (HTTP, EOF): CLOSED,
    (DECIDING, ACCEPT): OPEN,
    (DECIDING, REFUSE): DRAINING,
    (DECIDING, EOF): CLOSED,
    (CONNECTING, ACCEPT): OPEN,
    (CONNECTING, REFUSE): DRAINING,
    (CONNECTING, FAIL): DRAINING,
    (CONNECTING, EOF): CLOSED,
    (OPEN, LOCAL_CLOSE): CLOSING,
    (OPEN, PEER_CLOSE): DRAINING,
    (OPEN, FAIL): DRAINING,
    (OPEN, EOF): CLOSED,
    (CLOSING, PEER_CLOSE): DRAINING,
    (CLOSING, FAIL): DRAINING,
    (CLOSING, EOF): CLOSED,
    (DRAINING, EOF): CLOSED,
    (CLOSED, EOF): CLOSED,
}
