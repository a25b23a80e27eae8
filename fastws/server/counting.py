"""The part of a server that says what it has done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.connection.counters import Counters
from fastws.server.site import Site

if TYPE_CHECKING:
    from fastws.loop.state import LoopState
    from fastws.meters.meters import Meters
    from fastws.server.shared_page import SharedPage

__all__ = ["Counting"]


class Counting:
    """The lower part of a :class:`fastws.Server`, which sets these fields."""

    _site: Site
    _loop_state: LoopState
    #: What all workers of this server share; None where there is only one process.
    page: SharedPage | None = None

    @property
    def counters(self) -> Counters:
        """What the server has done so far in this process; a snapshot by name: ``counters.as_dict()``."""
        return self._site.counted()

    @property
    def own_counters(self) -> Counters:
        """Those of ``counters`` that no route counts for itself."""
        return self._site.counters

    def totals(self) -> dict[str, int]:
        """Return the counters of all workers of this server by name, also of those that have ended.

        Where no workers share them, those of ``counters``.
        """
        return self.counters.as_dict() if self.page is None else self.page.totals()

    def measure(self, meters: Meters) -> None:
        """Count by route, code and status from now on; see :func:`fastws.observe.metrics`."""
        self._site.measure(meters)
        self._loop_state.meters = meters

    def trace(self, traces: Any) -> None:
        """Tell ``traces`` of each handshake from now on; see :func:`fastws.observe.opentelemetry`."""
        self._site.traces = traces
