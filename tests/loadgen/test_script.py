"""Scripts: their lines, and whole runs that follow them."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from fastws.loadgen import Plan, PlanError, Result, Scenario, run
from fastws.loadgen.merging import merge_reports
from fastws.loadgen.script import Action, ScriptError, parse_script
from fastws.loadgen.script_client import fits
from tests.loadgen.servers import Chat, accept, echo, raw_server, websockets_server

pytestmark = pytest.mark.live

TALK = """
# what each client says
{"send": {"hello": "{client}"}}
{"expect": {"hello": "{client}"}, "within": "2s"}
{"repeat": 3}
{"send": "round {round} of {client}"}
{"expect": "round {round} of {client}"}
{"wait": "5ms"}
"""


def follow(url: str, script: str, **values: Any) -> Result:
    plan: dict[str, Any] = {"clients": 4, "duration": 0.4, "warmup": 0.0, **values}
    return run(Plan(url=url, scenario=Scenario.SCRIPT, script=script, **plan))


def test_a_script_is_read() -> None:
    script = parse_script(TALK)
    assert [step.action for step in script.once] == [Action.SEND, Action.EXPECT]
    assert [step.action for step in script.again] == [Action.SEND, Action.EXPECT, Action.WAIT]
    assert (script.times, script.once[1].within, script.again[2].value) == (3, 2.0, 0.005)
    assert (script.once[0].line, script.once[0].value) == (3, '{"hello":"{client}"}')
    assert script.expects and not script.stamped
    binary = parse_script('{"binary": "AAE="}\n{"send": "{stamp}"}')
    assert binary.once[0].value == b"\0\1" and binary.stamped and not binary.expects
    assert parse_script('{"repeat": true}\n{"send": "x", "clients": 2}\n{"wait": 1}').times is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "there is no step"),
        ("# nothing", "there is no step"),
        ("{", "line 1: this is no JSON"),
        ("\n\n[]", "line 3: a step is a JSON object"),
        ("{}", "line 1: a step has one of send, binary, sub, wait, expect, repeat"),
        ('{"shout": "x"}', "line 1: a step has one of"),
        ('{"send": "x", "wait": "1s"}', "line 1: a step has one of"),
        ('{"wait": "soon"}', "line 1: wait: 'soon': 'soon' is not a number"),
        ('{"wait": 0}', "line 1: wait: write a time above 0"),
        ('{"wait": true}', "line 1: wait: write a time above 0"),
        ('{"wait": null}', "line 1: wait: write a time above 0"),
        ('{"binary": "?"}', "line 1: binary: '\\?' is no base64"),
        ('{"binary": 5}', "line 1: binary: write bytes as base64"),
        ('{"sub": ""}', "line 1: sub: write the name of a topic"),
        ('{"expect": 5}', "line 1: expect: write a text"),
        ('{"send": 1, "within": "1s"}', "line 1: send: only expect and sub have a within"),
        ('{"send": 1, "clients": 0}', "line 1: send: clients says how many"),
        ('{"repeat": 0}', "line 1: repeat: write how often"),
        ('{"repeat": "ever"}', "line 1: repeat: write how often"),
        ('{"repeat": 2, "clients": 2}', "line 1: repeat: clients says"),
        ('{"repeat": 2}', "line 1: nothing follows"),
        ('{"repeat": 2}\n{"send": 1}\n{"repeat": 2}', "line 3: lines are repeated since line 1"),
        ('{"repeat": true}\n{"send": 1}', "line 1: client 1 would send without a pause"),
        ('{"repeat": true}\n{"send": 1}\n{"wait": 1, "clients": 2}', "line 1: client 3 would send without"),
    ],
)
def test_a_wrong_line_is_named(text: str, error: str) -> None:
    with pytest.raises(ScriptError, match=error):
        parse_script(text)


@pytest.mark.parametrize(
    ("wanted", "message", "found"),
    [
        ("lo", b"hello", True),
        ("", b"", True),
        ("x", b"hello", False),
        ({}, b"{}", True),
        ({"a": 1}, b'{"a":1,"b":2}', True),
        ({"a": {"b": None}}, b'{"a":{"b":null,"c":[]}}', True),
        ({"a": {"b": None}}, b'{"a":{}}', False),
        ({"a": {}}, b'{"a":5}', False),
        ({"a": 1}, b"[1]", False),
        ({"a": 1}, b"no JSON", False),
    ],
)
def test_what_fits(wanted: Any, message: bytes, found: bool) -> None:
    assert fits(wanted, message) is found


@pytest.mark.parametrize("values", [{}, {"processes": 2}, {"ramp": 0.2}], ids=str)
def test_clients_follow_a_script_once_and_again(values: dict[str, Any]) -> None:
    with websockets_server(echo) as url:
        made = follow(url, TALK, **values)
    assert made.ok and (made.received, made.expected, made.reach) == (16, 16, 1.0), made.errors
    assert made.histogram.total_count == 16 and made.rounds_rate
    assert made.opened == 4


def test_clients_take_urls_in_turn() -> None:
    with websockets_server(echo) as url, websockets_server(Chat()) as other:
        made = follow(url, '{"send": "x"}\n{"expect": "x"}', more_urls=(other,), clients=5, processes=2)
    assert made.ok and made.expected == 5, made.errors
    assert made.plan.urls == (url, other)


def test_stamps_tell_the_latency_of_each_delivery() -> None:
    script = '{"wait": "100ms"}\n{"send": {"at": "{stamp}"}, "clients": 2}\n{"binary": "AAE=", "clients": 1}'
    with websockets_server(Chat()) as url:
        made = follow(url, script)
    assert made.ok and made.histogram.total_count == 8, made.errors
    assert made.latency is not None and made.latency["max"] < 400


def test_what_does_not_come_is_an_error_with_its_line() -> None:
    with websockets_server(echo) as url:
        made = follow(url, '{"send": "x"}\n\n{"expect": "y", "within": "50ms"}\n{"send": "z"}', clients=2)
    assert [(each.text, each.count) for each in made.errors] == [
        ("what line 3 of the script expects did not come in time", 2)
    ]
    assert (made.reach, made.sent_rate > 0, made.ok) == (0.0, True, False)


def test_a_feed_is_subscribed_to_or_refuses() -> None:
    async def feed(ws: ServerConnection) -> None:
        async for message in ws:
            refused = "secret" in str(message)
            refusal = '{"t":"secret","error":{"code":"forbidden"}}'
            await ws.send(refusal if refused else '{"t":"news","sync":{}}')

    with websockets_server(feed) as url:
        assert follow(url, '{"sub": "news"}').ok
        made = follow(url, '{"sub": "secret"}')
    assert made.errors[0].text == "the feed refused the topic of line 1 of the script"


def test_a_server_that_closes_or_refuses_or_is_not_there() -> None:
    async def closing(ws: ServerConnection) -> None:
        await ws.recv()
        await ws.close(4400, "enough")

    with websockets_server(closing) as url:
        made = follow(url, '{"send": "x"}\n{"expect": "x"}')
    assert (made.lost, made.errors[0].text) == (4, "closed by the server with 4400 (enough)")
    answers = {
        b"HTTP/1.1 403 No\r\n\r\n": "the server refused the upgrade with status 403 Forbidden",
        b"220 mail\r\n\r\n": "the answer to the upgrade is not HTTP",
        b"HTTP/1.1 101 Yes\r\n\r\n": "the 101 does not carry the Sec-WebSocket-Accept of its request",
        b"HTTP/1.1 101 Yes\r\nX: " + b"x" * 20_000: "the head of the answer is longer than 16 KiB",
        b"": "the server ended the connection without a close frame",
    }
    for answer, error in answers.items():

        def talk(connection: socket.socket, number: int, answer: bytes = answer) -> None:
            connection.recv(4096)  # what is closed with bytes unread is reset
            connection.sendall(answer)

        with raw_server(talk) as url:
            made = follow(url, '{"send": "x"}', clients=1)
        assert (made.failed, made.errors[0].text) == (1, error)
    made = follow("ws://127.0.0.1:1/", '{"send": "x"}', clients=1)
    assert made.errors[0].text == "could not connect: Connection refused"


def test_fragments_pings_and_long_messages() -> None:
    def serve(connection: Any, number: int) -> None:
        accept(connection)
        connection.sendall(b"\x89\x01p\x01\x02he\x80\x03llo\x82\x7e\x01\x00" + bytes(256))
        connection.sendall(b"\x81\x7f" + (70_000).to_bytes(8) + b"x" * 70_000)
        while connection.recv(1 << 16):
            pass

    script = '{"expect": "hello"}\n{"expect": "xxx"}\n' + '{"send": "%s"}' % ("y" * 70_000)
    with raw_server(serve) as url:
        made = follow(url, script + '\n{"send": "%s"}' % ("z" * 200), clients=1)
    assert made.ok and (made.received, made.expected) == (2, 2), made.errors


def test_an_encrypted_server(tmp_path: Path) -> None:
    issued = issue(ensure_authority(tmp_path), tmp_path, [subject_name("localhost")], 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certfile, issued.keyfile)
    with websockets_server(echo, ssl=context) as url:
        assert follow(url, TALK, insecure=True).ok
        made = follow(url, TALK)
        assert made.errors[0].kind == "tls" and made.failed == 4
        with pytest.raises(PlanError, match="all URLs must begin with ws://, or all with wss://"):
            follow(url, TALK, more_urls=("ws://127.0.0.1:1/",))


def test_what_a_script_has_no_room_for() -> None:
    plan = Plan(url="ws://127.0.0.1:1/", scenario=Scenario.SCRIPT, script=TALK)
    with pytest.raises(PlanError, match="no turns"):
        run(plan, turns=[1])
    for wrong in ({"rate": 5.0}, {"deflate": True}, {"script": None}, {"scenario": Scenario.ECHO}):
        with pytest.raises(PlanError):
            replace(plan, **wrong)


def test_reports_of_scripts_are_added_up_and_hide_the_script() -> None:
    with websockets_server(echo) as url:
        reports = [follow(url, TALK, headers=(("Authorization", "secret"),)).to_json() for _ in range(2)]
        other = follow(url, '{"send": 1}').to_json()
    assert "hello" not in str(reports) and "secret" not in str(reports)
    merged = merge_reports([("one", reports[0]), ("two", reports[1])])
    assert merged.ok and (merged.received, merged.plan.clients, merged.plan.processes) == (32, 8, 2)
    with pytest.raises(ValueError, match="two has another script than one"):
        merge_reports([("one", reports[0]), ("two", other)])


def test_a_slow_opening_ends_in_time() -> None:
    with raw_server(lambda connection, number: [connection.recv(1 << 20), connection.recv(1)]) as url:
        made = follow(url, '{"send": 1}', clients=1, connect_timeout=0.1)
    assert [each.text for each in made.errors] == ["the connection did not open in time"]
