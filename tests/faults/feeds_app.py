"""The feeds of the benchmarks, and the server's counters."""

from __future__ import annotations

import fastws
from bench.servers import feeds
from tests.faults.counters import counters

routes = [fastws.Route("/counters", http=counters), *feeds.routes]
