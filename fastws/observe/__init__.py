"""For who runs a server: metrics, health, and a look inside.

``from fastws.observe import metrics`` needs ``pip install 'fastws-server[metrics]'``.
"""

from __future__ import annotations

from fastws.observe.collector import Metrics, metrics
from fastws.observe.otel import opentelemetry

__all__ = ["Metrics", "metrics", "opentelemetry"]
