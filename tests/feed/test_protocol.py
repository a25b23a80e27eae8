"""What both ends of a feed say: the table of messages, and what is refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastws.feed.commands import BadCommand, Pub, Sub, parse_command
from fastws.feed.messages import Changes, Data, Error, Hello, parse_message
from fastws.feed.protocol import MAX_COMMAND_BYTES
from fastws.feed.strict_json import MAX_DEPTH, BadJSON, loads, members
from fastws.feed.table import COMMANDS, ERRORS, MESSAGES, CommandRow, MessageRow


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.text)
def test_what_clients_say(row: CommandRow) -> None:
    assert parse_command(row.text) == row.value
    assert row.value.build() == row.text


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row.text)
def test_what_the_server_says(row: MessageRow) -> None:
    assert parse_message(row.text) == row.value
    assert row.value.build().decode() == row.text


def test_unknown_fields_are_ignored() -> None:
    assert parse_command('{"sub":"t","later":{"a":[1]}}') == Sub("t")
    assert parse_message('{"t":"t","d":1,"later":2}') == Data("t", 1)
    assert parse_message('{"t":"t","rm":["a"],"at":"x"}') == Changes("t", {}, ("a",))
    assert parse_message('{"later":1}') is None
    assert parse_message('{"t":"t","later":1}') is None
    assert parse_message('{"error":{"code":"internal"}}') == Error("internal")
    assert parse_message('{"hello":{"v":2,"id":"x"}}') == Hello("x", version=2)


@pytest.mark.parametrize("text", ["5", "[]", "{", '{"t":"t","gap":5}', '{"hello":1}'])
def test_what_no_server_says(text: str) -> None:
    with pytest.raises(ValueError):
        parse_message(text)


SOURCES = ["18446744073709551616", "1e-7", '{"a": [1, 2.50] }', '"\\u00e9 \U0001f600"', "null", "-0.0"]


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_published_stays_as_it_was_written(source: str) -> None:
    command = parse_command(f' {{ "pub" : "t" ,\n"d": {source} , "id":1}} ')
    assert isinstance(command, Pub)
    assert command.source == source
    assert parse_command(command.build()) == command


def test_integers_stay_integers() -> None:
    assert loads('{"a":18446744073709551616}') == {"a": 2**64}
    assert parse_message('{"t":"t","d":18446744073709551616}') == Data("t", 2**64)


NESTED = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
#: What a client says, and the code of the error.
BAD: dict[str, tuple[Any, str]] = {
    "binary": (b"{}", "bad_request"),
    "empty": ("", "bad_request"),
    "no JSON": ("hello", "bad_request"),
    "cut": ('{"sub":"t"', "bad_request"),
    "behind it": ('{"sub":"t"}{}', "bad_request"),
    "array": ("[]", "bad_request"),
    "number": ("5", "bad_request"),
    "no verb": ("{}", "bad_request"),
    "unknown verb": ('{"publish":"t"}', "bad_request"),
    "two verbs": ('{"sub":"t","unsub":"t"}', "bad_request"),
    "doubled name": ('{"sub":"t","sub":"u"}', "bad_request"),
    "doubled name, written otherwise": ('{"sub":"t","s\\u0075b":"u"}', "bad_request"),
    "doubled name within": ('{"pub":"t","d":{"a":1,"a":2}}', "bad_request"),
    "doubled name deep within": ('{"pub":"t","d":[[{"a":{"b":1,"b":1}}]]}', "bad_request"),
    "too deep": (f'{{"pub":"t","d":[{NESTED}]}}', "bad_request"),
    "much too deep": (f'{{"pub":"t","d":{"[" * 20_000}{"]" * 20_000}}}', "bad_request"),
    "lone surrogate": ('{"pub":"t","d":"\\ud800"}', "bad_request"),
    "lone surrogate as a name": ('{"pub":"t","d":{"\\udc00":1}}', "bad_request"),
    "NaN": ('{"pub":"t","d":NaN}', "bad_request"),
    "Infinity": ('{"pub":"t","d":-Infinity}', "bad_request"),
    "a digit too many": ('{"pub":"t","d":' + "9" * 5000 + "}", "bad_request"),
    "comment": ('{"sub":"t"/**/}', "bad_request"),
    "too large": ('{"pub":"t","d":"' + "x" * MAX_COMMAND_BYTES + '"}', "too_large"),
    "too large in UTF-8": ('{"pub":"t","d":"' + "é" * (MAX_COMMAND_BYTES // 2) + '"}', "too_large"),
    "topic is a number": ('{"sub":5}', "bad_request"),
    "topic is null": ('{"unsub":null}', "bad_request"),
    "since is a number": ('{"sub":"t","since":5}', "bad_request"),
    "since is empty": ('{"sub":"t","since":""}', "bad_request"),
    "recent is negative": ('{"sub":"t","recent":-1}', "bad_request"),
    "recent is half": ('{"sub":"t","recent":1.5}', "bad_request"),
    "recent is true": ('{"sub":"t","recent":true}', "bad_request"),
    "recent is too large": ('{"sub":"t","recent":99999999999999999999}', "bad_request"),
    "rate is nothing": ('{"sub":"t","rate":0}', "bad_request"),
    "rate is text": ('{"sub":"t","rate":"5"}', "bad_request"),
    "id is an object": ('{"sub":"t","id":{}}', "bad_request"),
    "id is too long": ('{"sub":"t","id":"' + "x" * 65 + '"}', "bad_request"),
    "id is too large": ('{"sub":"t","id":9007199254740992}', "bad_request"),
    "nothing to publish": ('{"pub":"t"}', "bad_request"),
    "two to publish": ('{"pub":"t","d":1,"b":"AA=="}', "bad_request"),
    "published and removed": ('{"pub":"t","d":1,"k":"a","rm":true}', "bad_request"),
    "removed without a key": ('{"pub":"t","rm":true}', "bad_request"),
    "rm is text": ('{"pub":"t","k":"a","rm":"yes"}', "bad_request"),
    "no base64": ('{"pub":"t","b":"?"}', "bad_request"),
    "base64 is a number": ('{"pub":"t","b":5}', "bad_request"),
    "key is empty": ('{"pub":"t","d":1,"k":""}', "bad_request"),
    "key is too long": ('{"pub":"t","d":1,"k":"' + "x" * 256 + '"}', "bad_request"),
    "once is too long": ('{"pub":"t","d":1,"once":"' + "x" * 129 + '"}', "bad_request"),
    "token is null": ('{"auth":null}', "bad_request"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_command(name: str) -> None:
    text, code = BAD[name]
    with pytest.raises(BadCommand) as caught:
        parse_command(text)
    assert caught.value.code == code
    assert code in ERRORS
    orjson.dumps(Error(code, caught.value.reason).build().decode())
    assert len(caught.value.reason) < 120


def test_the_deepest_that_is_taken() -> None:
    assert isinstance(parse_command(f'{{"pub":"t","d":{NESTED}}}'), Pub)
    brackets = '"' + "[{" * MAX_DEPTH + '"'
    assert isinstance(parse_command(f'{{"pub":"t","d":{brackets}}}'), Pub)


@pytest.mark.parametrize(
    ("end", "id"),
    [
        (',"id":8}', 8),
        (', "id" : -8 } ', -8),
        (',"id":"a b"}', "a b"),
        (',"id":""}', ""),
        (f',"id":"{"x" * 64}"}}', "x" * 64),
        (f',"id":"{"x" * 65}"}}', None),
        (',"id":1234567890123456}', None),
        (',"id":08}', None),
        (',"id":1.5}', None),
        (',"id":"\\u0061"}', None),
        (',"id":true}', None),
        (',"id":8,"k":"x"}', None),
        (',"b":{"id":8}}', None),
        (',"b":{"x":1,"id":8}}', None),
        (',"k":",\\"id\\":8}"}', None),
        (',"kid":8}', None),
    ],
)
def test_the_id_of_a_command_that_is_too_large(end: str, id: object) -> None:
    with pytest.raises(BadCommand) as caught:
        parse_command('{"pub":"t","d":"' + "x" * MAX_COMMAND_BYTES + '"' + end)
    assert (caught.value.code, caught.value.id) == ("too_large", id)


def test_an_error_names_what_it_is_about() -> None:
    with pytest.raises(BadCommand) as caught:
        parse_command('{"sub":"t","recent":-1,"id":"a"}')
    assert (caught.value.id, caught.value.topic) == ("a", "t")


def test_members_have_their_text() -> None:
    found = members('{"a": [1,2] ,"b" :"x"}')
    assert {name: member.source for name, member in found.items()} == {"a": "[1,2]", "b": '"x"'}
    assert members("{ }") == {}
    with pytest.raises(BadJSON):
        members("null")
