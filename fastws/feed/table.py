"""Every message of the feed protocol with an example. The tests of both ends run it, and the docs show it."""

from __future__ import annotations

from dataclasses import dataclass

from fastws.feed.commands import Auth, Command, Pub, Sub, Unsub
from fastws.feed.messages import (
    Ack,
    Beat,
    Changes,
    Clear,
    Data,
    End,
    Error,
    Gap,
    Hello,
    Live,
    Presence,
    ServerMessage,
    Snapshot,
    Sync,
)
from fastws.feed.protocol import Close

__all__ = ["CLOSES", "COMMANDS", "ERRORS", "MESSAGES", "CommandRow", "MessageRow"]


@dataclass(frozen=True, slots=True)
class CommandRow:
    """What a client says, and what is answered."""

    text: str
    value: Command
    answer: str


@dataclass(frozen=True, slots=True)
class MessageRow:
    """What the server says, and what it means."""

    text: str
    value: ServerMessage
    rule: str


COMMANDS = [
    CommandRow('{"sub":"rooms/blue"}', Sub("rooms/blue"), "`sync`, then what follows; or an error"),
    CommandRow(
        '{"sub":"rooms/blue","since":"mKx2.1:41","recent":10,"id":7}',
        Sub("rooms/blue", since="mKx2.1:41", recent=10, id=7),
        "the same, from a position on; `recent` counts where there is none to continue",
    ),
    CommandRow(
        '{"sub":"quotes","rate":5.0}',
        Sub("quotes", rate=5.0),
        "the same, at most 5 messages a second",
    ),
    CommandRow('{"unsub":"rooms/blue"}', Unsub("rooms/blue"), "`end`, whether it was subscribed or not"),
    CommandRow(
        '{"pub":"rooms/blue","d":{"text":"hi"},"id":8}',
        Pub("rooms/blue", source='{"text":"hi"}', id=8),
        "`ack` where there is an `id`; or an error",
    ),
    CommandRow(
        '{"pub":"rooms/blue","d":"hi","once":"8f1c","id":"a"}',
        Pub("rooms/blue", source='"hi"', once="8f1c", id="a"),
        "the same; with the same `once` again within 300 s nothing is published: `dup` is true",
    ),
    CommandRow('{"pub":"rooms/blue","b":"AP8="}', Pub("rooms/blue", data=b"\0\xff"), "nothing, or an error"),
    CommandRow(
        '{"pub":"cursors","d":[3,4],"k":"ann"}',
        Pub("cursors", source="[3,4]", key="ann"),
        "the same, of a keyed topic: the value of a key",
    ),
    CommandRow(
        '{"pub":"cursors","k":"ann","rm":true}',
        Pub("cursors", key="ann", remove=True),
        "the same: the key has no value any more",
    ),
    CommandRow('{"auth":"eyJhbGciOi"}', Auth("eyJhbGciOi"), "`hello`, or the close code 4401 or 4403"),
]

MESSAGES = [
    MessageRow(
        '{"hello":{"v":1,"id":"qA9dZ1","user":"ann","ping":10,"expires":600}}',
        Hello("qA9dZ1", "ann", 10, 600),
        "first, and the answer to `auth`. `expires`: seconds until another token is needed",
    ),
    MessageRow(
        '{"t":"rooms/blue","sync":{"at":"mKx2.1:41","resumed":true,"missed":0,"reason":null,'
        '"snapshot":false,"lossy":false}}',
        Sync("rooms/blue", "mKx2.1:41", resumed=True),
        "before anything else of `t`. `resumed`: true, everything since the position that you gave comes; "
        "null, you gave none; false, `missed` messages do not come (null: nobody knows how many), for the "
        '`reason` `"epoch"`, `"expired"`, `"future"` or `"limit"`. With `snapshot` forget what you hold. '
        "`lossy`: the topic keeps nothing to come back to, or leaves messages out",
    ),
    MessageRow(
        '{"t":"cursors","snap":{"ann":[3,4],"bob":[0,0]}}',
        Snapshot("cursors", {"ann": [3, 4], "bob": [0, 0]}),
        "a part of what a keyed topic holds, at most 64 KiB",
    ),
    MessageRow(
        '{"t":"rooms/blue","at":"mKx2.1:42","u":"ann","d":{"text":"hi"}}',
        Data("rooms/blue", {"text": "hi"}, "mKx2.1:42", "ann"),
        "a message. `at` where the topic keeps messages; `u` is its author, whom the server knows",
    ),
    MessageRow(
        '{"t":"raw","b":"AP8="}',
        Data("raw", b"\0\xff"),
        "a binary message, as base64",
    ),
    MessageRow(
        '{"t":"cursors","set":{"ann":[3,5]},"rm":["bob"]}',
        Changes("cursors", {"ann": [3, 5]}, ("bob",)),
        "all that changed in a keyed topic within a tick; `set` or `rm` may be missing",
    ),
    MessageRow('{"t":"cursors","clear":true}', Clear("cursors"), "the keyed topic holds nothing any more"),
    MessageRow(
        '{"t":"rooms/blue","live":"mKx2.1:42"}',
        Live("rooms/blue", "mKx2.1:42"),
        "you have everything. Of a keyed topic again when nothing waits, at most once a second",
    ),
    MessageRow(
        '{"t":"rooms/blue","gap":{"missed":12,"reason":"slow"}}',
        Gap("rooms/blue", 12, "slow"),
        "before the next message of `t`: so many do not come (null: nobody knows how many). You read "
        'too slowly (`"slow"`), the topic lets only some through (`"sampled"`), or servers lost them '
        '(`"bus"`, `"broker"`)',
    ),
    MessageRow(
        '{"t":"rooms/blue","presence":{"count":1,"list":[{"id":"ann","n":2,"info":null}]}}',
        Presence("rooms/blue", 1, ({"id": "ann", "n": 2, "info": None},)),
        "who is here, some time after `live`, of a topic that shows it: users, each with the number of its "
        "connections and with what the application says of it. Forget what you knew before",
    ),
    MessageRow(
        '{"t":"rooms/blue","presence":{"count":2,"join":[{"id":"bob","n":1,"info":{"age":7}}],"leave":["al"]}}',
        Presence("rooms/blue", 2, join=({"id": "bob", "n": 1, "info": {"age": 7}},), leave=("al",)),
        "what is new: who has come, or has another `n` or `info` (`join`), and who has gone (`leave`); one "
        "of both may be missing. At most two messages about who is here come in a second",
    ),
    MessageRow(
        '{"t":"rooms/blue","presence":{"count":201}}',
        Presence("rooms/blue", 201),
        "the number alone: the topic shows no more, or there are more than 200. Forget whom you knew; a "
        "`list` comes again when there are fewer",
    ),
    MessageRow(
        '{"t":"rooms/blue","end":"unsub"}',
        End("rooms/blue", "unsub"),
        'nothing of `t` follows: you said so, or you may not listen any more (`"revoked"`, `"expired"`)',
    ),
    MessageRow(
        '{"id":8,"ack":{"at":"mKx2.1:42","dup":false}}',
        Ack(8, "mKx2.1:42"),
        "what you published is out",
    ),
    MessageRow(
        '{"id":8,"t":"rooms/blue","error":{"code":"too_fast","reason":"one a second","retry_ms":800}}',
        Error("too_fast", "one a second", 8, "rooms/blue", 800),
        "a command was not obeyed; nothing else has changed. `id`, `t` and `retry_ms` where they are known",
    ),
    MessageRow(
        "{}",
        Beat(),
        "nothing, after `ping` seconds of silence. Twice as long without a message: connect again",
    ),
]

#: The codes of errors, and when they come.
ERRORS = {
    "bad_request": "no command, or one with a field that cannot be",
    "unauthorized": "a command before the token",
    "forbidden": "this client may not; a topic that nobody knows answers the same",
    "limit": "too many topics; a key more than the topic may have",
    "subscribed": "the topic is subscribed already, and stays so",
    "too_large": "the command has more than 64 KiB; its `id` is known where it is the last field",
    "too_fast": "more than 50 commands in a second, or more than the application allows; or too much of what "
    "topics keep was sent to your address in the last minute. Say it again after `retry_ms`",
    "unavailable": "it cannot be done now; try again",
    "internal": "the application failed; the reason is in its log",
}

#: The close codes: when they come, and whether a client comes back.
CLOSES = {
    Close.BAD_REQUEST: ("the URL cannot be understood", "no"),
    Close.UNAUTHORIZED: (
        "no token within 10 s, one that is not valid, or one that has expired",
        "with a new token",
    ),
    Close.FORBIDDEN: ("the client may not be here, or its new token is another user's", "no"),
    Close.UNAVAILABLE: (
        "the application cannot say now who the client is",
        "after a pause that is random and grows",
    ),
    Close.TOO_FAST: ("more than 200 commands in a second", "after a pause that is random and grows"),
}
