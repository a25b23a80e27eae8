"""OpenTelemetry: a span for each handshake, and the metrics through its API. Nothing for each message."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fastws._version import __version__
from fastws.observe.collector import metrics
from fastws.protocol.http.messages import Request
from fastws.server.server import Server

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from prometheus_client.core import Metric

__all__ = ["opentelemetry"]

MISSING = "OpenTelemetry is missing: pip install 'fastws-server[otel]'"
#: Seconds for which what one instrument has read serves the others.
FRESH_SECONDS = 1.0
#: Names that the instrumentations of the process itself have.
NOT_OURS = "process_"


def opentelemetry(
    server: Server,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Tell OpenTelemetry of a server from now on: a span for each handshake, and what :func:`metrics` has.

    A span covers the time from the head of the request to the 101, or to the response that refuses it. Its
    parent is what ``traceparent`` of the request says, as far as the propagators of the process read it.

    Args:
        server: A :class:`fastws.Server`; ``on_startup`` of a :class:`fastws.Application` is given it. Call
            once, on its loop.
        tracer_provider: Default None: that of the process.
        meter_provider: Default None: that of the process. Its reader calls from its own thread. In a worker
            of ``fastws serve`` the numbers are those of this process; with ``--metrics`` of all workers,
            and then one of them should export, ``if server.is_leader``.

    Raises:
        ImportError: OpenTelemetry's API or prometheus-client is missing; the message says how to install it.
    """
    try:
        from opentelemetry.metrics import get_meter
        from opentelemetry.trace import get_tracer
    except ImportError:
        raise ImportError(MISSING) from None
    server.trace(Handshakes(get_tracer("fastws", __version__, tracer_provider), server))
    instruments(get_meter("fastws", __version__, meter_provider), metrics(server).collect)


class Handshakes:
    """Makes a span of each handshake when that is decided."""

    def __init__(self, tracer: Any, server: Server) -> None:
        self._tracer = tracer
        self._server = server

    def handshake(self, request: Request, status: int, seconds: float) -> None:
        """Tell of a handshake that took so long and was answered so."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        endpoint = self._server.endpoint_of(request)
        route = "" if endpoint is None else endpoint.path
        now = time.time_ns()
        attributes: dict[str, Any] = {
            "http.request.method": request.method,
            "http.response.status_code": status,
            "url.path": request.path,
            "network.protocol.name": "websocket",
        }
        if route:
            attributes["http.route"] = route
        span = self._tracer.start_span(
            f"{request.method} {route}".rstrip(),
            context=extract({name.lower(): value for name, value in request.headers.items()}),
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=now - int(seconds * 1e9),
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=now)


class Readings:
    """The families, read once for all instruments of one export."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect
        self._at = float("-inf")
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}

    def of(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return the samples of a name, with their labels."""
        now = time.monotonic()
        if now - self._at >= FRESH_SECONDS:
            self._at, self._samples = now, {}
            for family in self._collect():
                for sample in family.samples:
                    self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        return self._samples.get(name, [])


def instruments(meter: Any, collect: Callable[[], Iterable[Metric]]) -> None:
    """Make an instrument of each family; of a histogram its count and its sum."""
    readings = Readings(collect)
    for family in collect():
        if family.name.startswith(NOT_OURS):
            continue
        name = family.name.replace("_", ".", 1)
        options = {"unit": "s" if family.unit == "seconds" else "", "description": family.documentation}
        if family.type == "gauge":
            meter.create_observable_gauge(name, [observed(readings, family.name)], **options)
        elif family.type == "counter":
            meter.create_observable_counter(name, [observed(readings, f"{family.name}_total")], **options)
        else:
            for part in ("count", "sum"):
                read = observed(readings, f"{family.name}_{part}")
                meter.create_observable_counter(f"{name}.{part}", [read], **options)


def observed(readings: Readings, name: str) -> Callable[[Any], Iterator[Any]]:
    def read(_: Any) -> Iterator[Any]:
        from opentelemetry.metrics import Observation

        for labels, value in readings.of(name):
            yield Observation(value, labels)

    return read
