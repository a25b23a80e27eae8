"""What a scraper sees."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.cli.helpers import Child, get

__all__ = ["Scrape", "check_with_promtool", "scrape", "where"]

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [
            (name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in SAMPLE.findall(text)
        ]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the samples with that name and these labels."""
        return sum(
            value for found, its, value in self.samples if found == name and labels.items() <= its.items()
        )

    def names(self) -> set[str]:
        return {name for name, _, _ in self.samples}


def where(server: Child) -> str:
    """The address of the metrics."""
    return server.line("Metrics on ").split()[2]


def scrape(server: Child) -> Scrape:
    status, headers, body = get(where(server), "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=")
    return Scrape(body.decode())


def check_with_promtool(text: str) -> None:
    """Fail where Prometheus' own tool finds anything to say."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def eventually(happened: Callable[[], object]) -> None:
    from tests.workers.helpers import until

    until(happened)
