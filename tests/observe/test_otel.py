"""OpenTelemetry's own SDK collects what it is given."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fastws import Response, Route
from fastws.observe import opentelemetry
from tests.kit import ManualLoop, RawClient, Recorder
from tests.kit.served import opened, served

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_span_for_each_handshake_and_the_metrics(loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastws.observe.otel.FRESH_SECONDS", 0.0)
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    busy = Route("/busy", Recorder(), authorize=lambda request: Response(503))
    server = served(
        loop, [Route("/rooms/{name}", Recorder(echo=True)), busy, Route("/", http=lambda _: Response())]
    )
    opentelemetry(server, tracer_provider=tracers, meter_provider=meters)
    client = opened(loop, server, f"traceparent: {PARENT}", path="/rooms/a?token=secret")
    for path, status in (("/nowhere", 404), ("/busy", 503)):
        assert RawClient(server, loop).upgrade(path).status == status
    RawClient(server, loop).get("/")
    client.text("one")
    client.text("two")
    loop.settle()
    room, nowhere, busy_span = spans.get_finished_spans()
    attributes: Any = room.attributes
    assert (room.name, room.kind) == ("GET /rooms/{name}", SpanKind.SERVER)
    assert attributes["http.route"] == "/rooms/{name}" and attributes["url.path"] == "/rooms/a"
    assert attributes["http.response.status_code"] == 101
    assert "secret" not in str(dict(attributes))
    assert room.parent is not None and f"{room.parent.trace_id:032x}" in PARENT
    assert room.start_time is not None and room.end_time is not None and room.start_time <= room.end_time
    assert nowhere.name == "GET" and nowhere.parent is None
    assert (nowhere.status.status_code, busy_span.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)

    data: Any = reader.get_metrics_data()
    found = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    (point,) = [
        each
        for each in found["fastws.messages_received"].data.data_points
        if each.attributes["route"] == "/rooms/{name}"
    ]
    assert point.value == 2
    assert found["fastws.ping_seconds.count"].unit == "s"
    assert not any(name.startswith("process") for name in found)


def test_without_it(loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    server = served(loop, Recorder())
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(ImportError, match=r"pip install 'fastws-server\[otel\]'"):
        opentelemetry(server)
