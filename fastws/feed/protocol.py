"""The feed protocol, ``fastws.feed.v1``: its limits and its close codes. No socket, no clock.

Each message is one JSON object in one text frame, and says one thing. Unknown fields are ignored. Clients say
:mod:`fastws.feed.commands`, the server says :mod:`fastws.feed.messages`; the table of both, with an example
of each, is :mod:`fastws.feed.table`.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "MAX_COMMANDS_PER_SECOND",
    "MAX_COMMAND_BYTES",
    "MAX_ID_CHARACTERS",
    "MAX_KEY_BYTES",
    "MAX_ONCE_BYTES",
    "MAX_RECENT",
    "MAX_TOPICS",
    "PING_SECONDS",
    "REPLAY_BYTES",
    "SUBPROTOCOL",
    "VERSION",
    "Close",
]

SUBPROTOCOL = "fastws.feed.v1"
VERSION = 1
#: Bytes of one command, in UTF-8.
MAX_COMMAND_BYTES = 64 * 1024
#: Topics of one client; an application may set another number.
MAX_TOPICS = 128
MAX_COMMANDS_PER_SECOND = 50
#: Bytes of what topics keep that the clients of one address are sent in a minute; an application may set
#: another number. 200 pages behind one address take 50 MiB where each resumes with 256 KiB.
REPLAY_BYTES = 256 * 2**20
#: After so many seconds of silence the server says ``{}``; an application may set another number.
PING_SECONDS = 10.0
#: Characters of a client's id for a command.
MAX_ID_CHARACTERS = 64
#: Bytes of ``once``, and of a key.
MAX_ONCE_BYTES = 128
MAX_KEY_BYTES = 255
#: For how many of the last messages a client may ask; it is sent as many of them as are kept.
MAX_RECENT = 999_999_999


class Close(IntEnum):
    """The close codes of a feed (RFC 6455, section 7.4.2: 4000 to 4999 are an application's own).

    After a code below 4400, 4408 or 4429 a client comes back, after a pause that is random and grows. After
    4401 it comes back with a new token. After any other one it does not.
    """

    #: The request cannot be understood.
    BAD_REQUEST = 4400
    #: No token within 10 s, or one that is not (or no longer) valid.
    UNAUTHORIZED = 4401
    #: A renewed token of another user, or a client that may not be here.
    FORBIDDEN = 4403
    #: The application did not say in time who the client is.
    UNAVAILABLE = 4408
    #: Commands come much too fast.
    TOO_FAST = 4429
