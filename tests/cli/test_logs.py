"""Lines of the command's log say when."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.cli.helpers import get, running

DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d) "


def test_both_logs_have_the_date(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0) as server:
        get(server.address(), "/nowhere")
        assert server.stop(signal.SIGTERM) == 0
    assert re.match(DATE + r'127\.0\.0\.1:\d+ "GET /nowhere', server.stdout())
    assert re.search(rf"^{DATE}info +SIGTERM", server.stderr(), re.MULTILINE)
