"""What the tutorial's programs do, item by item, and the tests that look.

``TABLE`` is the whole of it. The servers are real processes, and whoever talks to them was not
written here: websockets, aiohttp, ``ws`` of node, the standard library's HTTP client; the pages are
driven by a real browser. Times are the built-in ones where the clock does not matter, and shortened
(``apps.py``) where a test has to wait for it.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = "tests/live/test_pages.py"
ECHO = "tests/live/test_echo.py"
TERMINAL = "tests/live/test_terminal_client.py"
CHAT = "tests/live/test_chat.py"
LIBRARY = "tests/live/test_library.py"
START_PAGE = "tests/browser/test_start_page.py"
CHAT_PAGE = "tests/browser/test_chat_page.py"

#: (item, in our words, the tests that look)
TABLE: list[tuple[str, str, list[str]]] = [
    # What the tutorial builds
    (
        "tutorial 1",
        "/ is a page, and its response names the server in X-Server; /wsecho echoes and logs what came.",
        [
            f"{PAGES}::test_the_pages_and_their_header",
            f"{ECHO}::test_echo_keeps_type_and_bytes",
            f"{ECHO}::test_the_echo_is_logged",
        ],
    ),
    (
        "tutorial 2",
        "The page greets with Hello Server!, and shows each message, an error and the close.",
        [
            f"{START_PAGE}::test_hello_server_comes_back",
            f"{START_PAGE}::test_the_close_and_an_error_are_shown_and_one_can_come_back",
        ],
    ),
    (
        "tutorial 3",
        "A browser or a client in the terminal will do.",
        [
            f"{START_PAGE}::test_a_person_types_and_the_server_answers",
            f"{TERMINAL}::test_the_client_sends_the_time",
        ],
    ),
    (
        "tutorial 4",
        "A chat room whose hub lets clients in and out and tells everybody, with 256 places for each.",
        [
            f"{CHAT}::test_everybody_hears_everybody_in_one_order",
            f"{CHAT}::test_who_does_not_read_is_evicted",
        ],
    ),
    (
        "tutorial 5",
        "The same over https and wss, from a certificate of a local authority that a person can trust.",
        [f"{ECHO}::test_the_same_over_tls"],
    ),
    # Echo server
    (
        "echo server 1",
        "A message comes back in its type, byte for byte; fragments come back as one; empty ones too.",
        [f"{ECHO}::test_echo_keeps_type_and_bytes"],
    ),
    (
        "echo server 2",
        "A browser on another origin gets 403; without an Origin the client is let in.",
        [f"{PAGES}::test_a_foreign_origin_is_refused"],
    ),
    (
        "echo server 3",
        "A close with 1000 is answered with 1000, then TCP ends.",
        [f"{ECHO}::test_a_close_is_answered_and_tcp_ends"],
    ),
    # Echo client
    (
        "echo client 1",
        "Sends the time as text once an interval and prints what comes back.",
        [f"{TERMINAL}::test_the_client_sends_the_time"],
    ),
    (
        "echo client 2",
        "No connection: it says why, exit code 1. SIGINT: close 1000, at most a second's wait, exit code 0.",
        [
            f"{TERMINAL}::test_the_client_says_why_it_cannot_connect",
            f"{TERMINAL}::test_the_client_sends_the_time",
            f"{TERMINAL}::test_the_client_does_not_wait_for_ever",
        ],
    ),
    # Chat
    (
        "chat constants",
        "Write 10 s, pong 60 s, ping 54 s, 512 bytes a message, 256 messages in a queue.",
        [f"{CHAT}::test_the_constants_of_the_chat"],
    ),
    (
        "chat 1",
        "/chat is the page; a path nobody knows is 404, a page asked for by POST 405 with Allow.",
        [f"{PAGES}::test_the_pages_and_their_header", f"{PAGES}::test_unknown_paths_and_methods"],
    ),
    (
        "chat 2",
        "/ws upgrades. A plain GET is 426, another version 426 with ours, a foreign origin 403.",
        [f"{PAGES}::test_what_does_not_upgrade", f"{PAGES}::test_a_foreign_origin_is_refused"],
    ),
    (
        "chat 3",
        "Text or binary: newlines become spaces, the ends are trimmed, all hear it as text, the speaker too.",
        [
            f"{CHAT}::test_what_is_said_is_trimmed_and_goes_out_as_text",
            f"{CHAT}::test_binary_that_is_no_text_is_refused",
        ],
    ),
    (
        "chat 4",
        "512 bytes pass, counted over fragments; 513 end that client with 1009, and no other.",
        [f"{CHAT}::test_512_bytes_pass_and_513_do_not"],
    ),
    (
        "chat 5",
        "All hear all in one order.",
        [f"{CHAT}::test_everybody_hears_everybody_in_one_order"],
    ),
    (
        "chat 6",
        "Nobody waits for a client: behind 256 waiting messages the next evicts it, and the others hear all.",
        [f"{CHAT}::test_who_does_not_read_is_evicted"],
    ),
    (
        "chat 7",
        "Evicted: what waits is thrown away, the frame under way ends, 1008 with a reason, TCP ends in time.",
        [
            f"{CHAT}::test_who_does_not_read_is_evicted",
            f"{CHAT}::test_who_takes_nothing_is_gone_after_the_write_wait",
        ],
    ),
    (
        "chat 8",
        "What waits together leaves as one message with newlines between; what waits alone leaves alone.",
        [f"{CHAT}::test_what_waits_together_is_one_message"],
    ),
    (
        "chat 9",
        "A ping each interval; without its pong in time, or with a write that takes too long, the end.",
        [
            f"{CHAT}::test_who_answers_pings_stays",
            f"{CHAT}::test_who_does_not_answer_pings_is_gone",
            f"{CHAT}::test_who_takes_nothing_is_gone_after_the_write_wait",
        ],
    ),
    (
        "chat 10",
        "Leaving twice does no harm, and the room goes on when somebody has gone.",
        [f"{CHAT}::test_the_room_goes_on"],
    ),
    (
        "chat 11",
        "An unexpected close is an error in the log; 1000, 1001, 1005 and 1006 are not.",
        [f"{CHAT}::test_which_closes_are_errors_in_the_log"],
    ),
    (
        "chat 12",
        "The page: a line of text each, the end kept in view, an empty field sends nothing, the close shown.",
        [
            f"{CHAT_PAGE}::test_two_tabs_chat",
            f"{CHAT_PAGE}::test_what_the_server_joined_is_a_line_each",
            f"{CHAT_PAGE}::test_html_is_shown_as_text",
            f"{CHAT_PAGE}::test_the_log_stays_at_its_end_only_if_it_was_there",
            f"{CHAT_PAGE}::test_the_field_is_cleared_and_an_empty_one_sends_nothing",
            f"{CHAT_PAGE}::test_the_close_is_shown_when_the_server_ends",
            f"{CHAT_PAGE}::test_a_browser_without_websocket_is_told",
        ],
    ),
    # Library facts
    (
        "library 1",
        "A ping's payload comes back in a pong, a close's code in a close.",
        [f"{LIBRARY}::test_pings_and_closes_come_back"],
    ),
    (
        "library 2",
        "No mask, a reserved bit, an unknown opcode, a control frame too long or in parts: 1002.",
        [f"{LIBRARY}::test_violations_are_closed_with_their_code"],
    ),
    (
        "library 3",
        "Too much is 1009; only certain codes may come in a close; no close frame at all counts as 1006.",
        [
            f"{LIBRARY}::test_violations_are_closed_with_their_code",
            f"{LIBRARY}::test_which_close_codes_are_accepted",
            f"{LIBRARY}::test_the_end_without_a_close_frame_is_1006",
        ],
    ),
    (
        "library 4",
        "Text that is not UTF-8 is closed with 1007.",
        [f"{LIBRARY}::test_violations_are_closed_with_their_code"],
    ),
]


def defined_tests(path: str) -> set[str]:
    text = (ROOT / path).read_text()
    return {f"{path}::{name}" for name in re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE)}


def test_every_item_has_its_tests_and_every_test_its_item() -> None:
    named = {name for _, _, names in TABLE for name in names}
    ours = set().union(*map(defined_tests, (PAGES, ECHO, TERMINAL, CHAT, LIBRARY)))
    assert ours == {name for name in named if name.startswith("tests/live/")}
    assert named - ours <= defined_tests(START_PAGE) | defined_tests(CHAT_PAGE)
    assert all(names for _, _, names in TABLE)
    chapters = {"tutorial": 5, "echo server": 3, "echo client": 2, "chat": 12, "library": 4}
    numbered = [f"{name} {number + 1}" for name, count in chapters.items() for number in range(count)]
    assert sorted(item for item, _, _ in TABLE) == sorted([*numbered, "chat constants"])
