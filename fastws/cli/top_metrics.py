"""``fastws top URL``: the same view of what ``/metrics`` has. It knows no single client."""

from __future__ import annotations

import time
from collections import Counter
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from fastws.cli.errors import CannotStart
from fastws.observe.collector import check_client

__all__ = ["pulled"]

SECONDS = 10.0
#: Which total each metric is.
TOTALS = {
    "fastws_messages_received_total": "messages_received",
    "fastws_messages_sent_total": "messages_sent",
    "fastws_bytes_received_total": "bytes_received",
    "fastws_bytes_sent_total": "bytes_sent",
    "fastws_dropped_total": "messages_dropped",
    "fastws_evicted_total": "evicted",
    "fastws_limited_total": "limited",
    "fastws_queue_bytes": "queue_bytes",
    "fastws_closes_total": "websockets_closed",
}


def pulled(url: str) -> dict[str, Any]:
    """Return what a scrape has, in the words of the control socket. Raises `CannotStart`."""
    if url.count("/") < 3 or url.endswith("/"):
        url = f"{url.rstrip('/')}/metrics"
    try:
        check_client()
        with urlopen(url, timeout=SECONDS) as response:
            text = response.read().decode()
    except ImportError as error:
        raise CannotStart(str(error)) from None
    except (OSError, URLError, HTTPException, ValueError) as error:
        raise CannotStart(f"no metrics at {url}: {getattr(error, 'reason', error)}") from None
    return view_of(text)


def view_of(text: str) -> dict[str, Any]:
    """Return the view of the text of a scrape. Raises `CannotStart` where it is none of ours."""
    from prometheus_client.parser import text_string_to_metric_families

    totals: Counter[str] = Counter()
    closes: Counter[str] = Counter()
    states: dict[str, int] = {}
    found = {"fastws_connections": 0.0, "fastws_tcp_connections": 0.0, "process_start_time_seconds": 0.0}
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError:
        samples = []
    for sample in samples:
        name, labels, value = sample.name, sample.labels, sample.value
        if name in TOTALS:
            totals[TOTALS[name]] += int(value)
        if name in found:
            found[name] += value
        if name == "fastws_closes_total":
            closes[f"{labels['code']} {labels['initiator']}"] += int(value)
        elif name == "fastws_handshakes_total" and labels["result"] == "accepted":
            totals["websockets_opened"] += int(value)
        elif name == "fastws_workers":
            states[labels["state"]] = int(value)
    if not states:
        raise CannotStart("what is there are not the metrics of fastws")
    now = time.time()
    return {
        "time": now,
        "seconds": now - found["process_start_time_seconds"],
        "states": states,
        "connections": int(found["fastws_tcp_connections"]),
        "websockets": int(found["fastws_connections"]),
        "totals": dict(totals),
        "closes": dict((+closes).most_common()),
        "workers": [],
        "clients": [],
        "knows_clients": False,
        "topics": [],
    }
