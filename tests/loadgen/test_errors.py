"""Every kind of error has a sentence."""

from __future__ import annotations

import errno

import pytest

from fastws.loadgen.errors import KINDS, UPGRADE_FAILURES, describe_errors


@pytest.mark.parametrize(
    ("kind", "detail", "text"),
    [
        ("connect", errno.ECONNREFUSED, "could not connect: Connection refused"),
        ("connect", errno.EADDRNOTAVAIL, "no free port left"),
        ("connect", errno.EMFILE, "ulimit -n"),
        ("timeout", 0, "did not open in time"),
        ("tls", 0, "TLS failed"),
        ("refused", 403, "refused the upgrade with status 403 Forbidden"),
        ("refused", 799, "status 799"),
        ("closed", 1001, "closed by the server with 1001"),
        ("eof", 0, "without a close frame"),
        ("socket", errno.ECONNRESET, "Connection reset by peer"),
        ("protocol", 1002, "broke the protocol (1002)"),
        ("deflate", 0, "did not accept permessage-deflate"),
        ("stalled", 0, "nothing came for a second"),
        *[("upgrade", i, sentence) for i, sentence in enumerate(UPGRADE_FAILURES)],
    ],
)
def test_an_error_in_words(kind: str, detail: int, text: str) -> None:
    (found,) = describe_errors([(KINDS.index(kind), detail, 3)])
    assert (found.kind, found.count) == (kind, 3)
    assert text in found.text


def test_errors_of_processes_are_added_and_the_most_frequent_stands_first() -> None:
    found = describe_errors([(5, 1001, 2), (6, 0, 3), (5, 1001, 2)])
    assert [(error.kind, error.count) for error in found] == [("closed", 4), ("eof", 3)]


def test_the_servers_own_words_about_tls_are_told() -> None:
    assert (
        describe_errors([(2, 0, 1)], "certificate has expired")[0].text
        == "TLS failed: certificate has expired"
    )
