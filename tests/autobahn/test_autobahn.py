"""The suite's groups 1 to 7 and 10, and samples of 9, 12 and 13, for both roles on every change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.autobahn.environment import Missing
from tests.autobahn.suite import FAST, Report, Run, run
from tests.live.servers import make_certificates

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(600)]

#: All of groups 1 to 7 and 10, which no sample leaves out.
WHOLE_GROUPS = 16 + 11 + 7 + 10 + 20 + 145 + 37 + 1
RUNS = [
    Run("server", "c"),
    Run("client", "c"),
    Run("server", "wsproto"),
    Run("client", "wsproto", tls=True),
    Run("server", "c", tls=True),
]


@pytest.mark.parametrize("what", RUNS, ids=lambda what: what.name)
def test_every_case_is_acceptable(what: Run, tmp_path: Path) -> None:
    if what.engine == "c":
        pytest.importorskip("fastws.protocol._frames")
    try:
        report = run(what, make_certificates(tmp_path), tmp_path)
    except Missing as missing:
        if os.environ.get("FASTWS_REQUIRE_AUTOBAHN") == "1":
            raise
        pytest.skip(f"autobahn: {missing}")
    assert not report.failures()
    assert len(report.behaviour) == WHOLE_GROUPS + len([case for case in FAST if "*" not in case])
    # How early bad UTF-8 is noticed is all that is left to taste.
    assert all(case.startswith("6.4.") for case in report.cases("NON-STRICT"))


def test_a_failure_in_either_respect_counts() -> None:
    verdicts = {"1.1.1": "OK", "1.1.2": "FAILED", "6.4.1": "NON-STRICT", "7.1.6": "INFORMATIONAL"}
    closing = {**dict.fromkeys(verdicts, "OK"), "6.4.1": "UNCLEAN"}
    report = Report(Run("server"), verdicts, closing, 1.0)
    assert report.failures() == {"1.1.2": ("FAILED", "OK"), "6.4.1": ("NON-STRICT", "UNCLEAN")}
    assert report.cases("INFORMATIONAL") == ["7.1.6"]
    assert report.summary() == ("server-c-ws: 4 cases, 1 OK, 1 NON-STRICT, 1 INFORMATIONAL, 2 failed, 1 s")
