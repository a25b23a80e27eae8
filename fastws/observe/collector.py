"""``fastws.observe.metrics``: a collector for prometheus-client, and what a route answers a scrape with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastws.meters.meters import Meters, begin_measuring
from fastws.observe.sources import OwnSource, PageSource, Source
from fastws.protocol.http.messages import Request, Response
from fastws.pubsub.hub import Hub
from fastws.pubsub.kept import HUBS
from fastws.server.server import Server

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Metrics", "metrics", "metrics_of"]

MISSING = "metrics need prometheus-client: pip install 'fastws-server[metrics]'"


class Metrics:
    """What one scrape reads; made by :func:`metrics`.

    A collector for a registry of prometheus-client (``registry.register(found)``), and the ``http=`` of a
    :class:`fastws.Route`. Any thread may scrape, several at the same time; nothing is computed in between.
    """

    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return the families of metrics, as prometheus-client asks for them."""
        return self._families()

    def describe(self) -> list[Metric]:
        """Return nothing: a registry need not scrape to register."""
        return []

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the body of a scrape and its content type.

        Args:
            accept: what the scraper accepts: OpenMetrics' text or, by default, Prometheus' text.
        """
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        registry: Any = self
        return encode(registry), content_type

    def __call__(self, request: Request) -> Response:
        """Answer a scrape."""
        body, content_type = self.text(request.headers.get("accept") or "")
        return Response(200, body, content_type=content_type)


def metrics(of: Server | Hub) -> Metrics:
    """Measure from now on, in this process, and return what a scrape reads.

    What a process measures is one: of several servers in it the numbers are added.

    Args:
        of: A :class:`fastws.Server`: all metrics of docs/metrics.md; what is open already counts for the
            route "". A :class:`fastws.Hub`: those of the topics of this process, for a program that is served
            by somebody else. In a worker of ``fastws serve --metrics`` they are the numbers of all workers,
            in any other process its own.

    Returns:
        A :class:`Metrics`. Ask once, on the loop of the server or hub, and keep it.

    Raises:
        ImportError: prometheus-client is missing; the message says how to install it.
        TypeError: ``of`` is neither.
    """
    if not isinstance(of, (Server, Hub)):
        raise TypeError(f"metrics are those of a fastws.Server or a fastws.Hub, not {type(of).__name__}")
    check_client()
    meters = begin_measuring()
    for hub in list(HUBS):
        hub.measure()
    if isinstance(of, Server):
        of.measure(meters)
        return metrics_of(source_of(of, meters))
    from fastws.observe.families import topic_families

    board = meters.board
    return Metrics(lambda: topic_families([(series, board.sums(series)) for series in board.series()]))


def metrics_of(source: Source) -> Metrics:
    """Return what a scrape of ``source`` reads. Raises ``ImportError`` with the words for a person."""
    check_client()
    from fastws.observe.families import families

    return Metrics(lambda: families(source))


def source_of(server: Server, meters: Meters) -> Source:
    """Return where the numbers of a server are: those of all its workers, where they share."""
    page = server.page
    alone = OwnSource(lambda: server, meters.board)
    if page is None or page.board is not meters.board:
        return alone
    return PageSource(page, alone.workers, alone.pids)


def check_client() -> None:
    """Raise ``ImportError`` where prometheus-client is missing."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        raise ImportError(MISSING) from None
