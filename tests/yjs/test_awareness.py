"""Who is here: the last word of each client counts, and nobody speaks for another one."""

from __future__ import annotations

import pytest

from fastws.yjs.awareness import MAX_OWN, STALE_SECONDS, Awareness
from fastws.yjs.protocol import BadMessage, Entry, awareness_content


@pytest.fixture
def here() -> Awareness:
    return Awareness(100)


def said(here: Awareness, owner: object, *entries: Entry, now: float = 0.0) -> list[Entry]:
    return here.receive(owner, awareness_content(list(entries)), now)


ANN, BOB = Entry(1, 1, b'"ann"'), Entry(2, 1, b'"bob"')


def test_the_last_word_counts(here: Awareness) -> None:
    for clock in (1, 2, 5, 4):
        said(here, "ann", ANN._replace(clock=clock, state=b"%d" % clock))
    assert here.has_changes
    assert here.take() == ([Entry(1, 5, b"5")], [Entry(1, 5, b"5")])
    assert not here.has_changes
    assert here.take() == ([], [])
    assert here.present() == here.said_here() == [Entry(1, 5, b"5")]


def test_who_leaves_is_told(here: Awareness) -> None:
    said(here, "ann", ANN)
    said(here, "bob", BOB)
    here.take()
    here.leave("ann", 1.0)
    here.leave("nobody", 1.0)
    assert here.take() == ([Entry(1, 1, None)], [Entry(1, 1, None)])
    assert here.present() == [BOB]


def test_what_is_sent_back_changes_nothing(here: Awareness) -> None:
    """y-websocket says again what it was told, to the server too."""
    said(here, "ann", ANN)
    said(here, "bob", BOB)
    here.take()
    said(here, "bob", ANN, BOB)
    said(here, "bob", ANN._replace(clock=7, state=b'"not ann"'))
    here.leave("ann", 1.0)
    here.take()
    said(here, "bob", ANN)
    assert here.present() == [BOB]


def test_long_messages_without_the_own_entry_are_not_read(here: Awareness) -> None:
    said(here, "ann", ANN)
    assert here.receive("ann", b"\x07 nonsense", 0.0) == []
    with pytest.raises(BadMessage):
        here.receive("ann", b"\x04 nonsense", 0.0)
    with pytest.raises(BadMessage):
        here.receive("bob", b"\x07 nonsense", 0.0)


def test_who_comes_back_before_the_old_connection_has_ended(here: Awareness) -> None:
    said(here, "old", ANN)
    said(here, "new", ANN)
    here.leave("old", 1.0)
    assert here.present() == [ANN]
    here.leave("new", 1.0)
    assert here.present() == []


def test_who_comes_back_is_told_that_he_was_gone(here: Awareness) -> None:
    """Then it says a clock that the others take."""
    said(here, "old", ANN)
    here.leave("old", 1.0)
    here.take()
    assert said(here, "new", ANN) == [Entry(1, 1, None)]
    assert not here.has_changes
    assert said(here, "new", ANN._replace(clock=2)) == []
    assert here.present() == [ANN._replace(clock=2)]


def test_a_client_says_that_it_has_gone(here: Awareness) -> None:
    said(here, "ann", ANN)
    said(here, "ann", Entry(1, 1, None))
    said(here, "ann", Entry(9, 1, None))
    assert here.present() == []
    said(here, "ann", ANN._replace(clock=2))
    assert here.present() == [ANN._replace(clock=2)]


def test_one_connection_has_few_clients(here: Awareness) -> None:
    for client in range(10):
        said(here, "ann", Entry(client, 1, b"1"))
    assert len(here.present()) == MAX_OWN


@pytest.mark.parametrize("state", [b"{", b"", b"NaN", b"[" * 90, b"\xff", b'"' + b"x" * 100 + b'"'])
def test_what_would_break_others_is_refused(here: Awareness, state: bytes) -> None:
    with pytest.raises(BadMessage):
        said(here, "ann", Entry(1, 1, state))
    assert here.present() == []


def test_other_processes(here: Awareness) -> None:
    said(here, "ann", ANN)
    here.take()
    here.merge([BOB, ANN._replace(state=b'"older"'), Entry(1, 1, None)], 0.0)
    assert here.take() == ([BOB], [])
    assert here.said_here() == [ANN]
    # She has connected there meanwhile; the end of the old connection says nothing more.
    here.merge([ANN._replace(clock=2)], 0.0)
    here.leave("ann", 1.0)
    assert here.present() == [ANN._replace(clock=2), BOB]
    said(here, "bob", BOB._replace(clock=2), BOB._replace(clock=3))
    assert here.present() == [ANN._replace(clock=2), BOB], "it is what was told, sent back"


def test_a_process_that_has_ended(here: Awareness) -> None:
    said(here, "ann", ANN)
    here.merge([BOB], 0.0)
    here.take()
    here.expire(STALE_SECONDS - 1)
    assert not here.has_changes
    here.expire(STALE_SECONDS)
    assert here.take() == ([BOB._replace(state=None)], [])
    here.expire(2 * STALE_SECONDS)
    assert not here.has_changes
    assert here.present() == [ANN]


def test_there_is_an_end(here: Awareness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.yjs.awareness.MAX_ENTRIES", 1)
    said(here, "ann", ANN)
    said(here, "bob", BOB)
    here.merge([BOB], 0.0)
    assert here.present() == [ANN]
