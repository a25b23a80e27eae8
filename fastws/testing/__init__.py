"""For tests of an application that uses fastws: a server and a client without sockets or waiting.

``pair`` joins a server and a client of it in memory, on any loop. A ``Clock`` moves the time of their
timeouts and pings. The methods of an ``End`` make a client or server slow, stalled or gone. ``ManualLoop``
is a whole loop whose turns and clock a test moves by hand, for tests that are plain functions. ``Network``
gives any loop listeners and connections in memory. ``RawClient`` and ``RawServer`` speak bytes.
``memory_broker`` lets hubs share as those of several workers do. Nothing here is for use outside of tests.

Names are imported when they are first used: pytest loads this package for the plugin in every run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastws.testing.broker import MemoryBroker, memory_broker
    from fastws.testing.broker_cases import broker_conformance
    from fastws.testing.broker_server import BrokerServer
    from fastws.testing.clock import Clock
    from fastws.testing.conformance import BrokerSite, Case
    from fastws.testing.loop import ManualLoop
    from fastws.testing.network import Listener, Network
    from fastws.testing.pairs import End, live, pair
    from fastws.testing.peers import RawClient, RawServer, Recorder
    from fastws.testing.transport import MemoryTransport
    from fastws.testing.watch import WaitTimeout, until
    from fastws.testing.wire import Frame, HTTPAnswer, frame, handshake, read_frames, read_response

_MODULES = {
    "BrokerServer": "broker_server",
    "BrokerSite": "conformance",
    "Case": "conformance",
    "Clock": "clock",
    "End": "pairs",
    "Frame": "wire",
    "HTTPAnswer": "wire",
    "Listener": "network",
    "ManualLoop": "loop",
    "MemoryBroker": "broker",
    "MemoryTransport": "transport",
    "Network": "network",
    "RawClient": "peers",
    "RawServer": "peers",
    "Recorder": "peers",
    "WaitTimeout": "watch",
    "broker_conformance": "broker_cases",
    "frame": "wire",
    "handshake": "wire",
    "live": "pairs",
    "memory_broker": "broker",
    "pair": "pairs",
    "read_frames": "wire",
    "read_response": "wire",
    "until": "watch",
}

__all__ = [
    "BrokerServer",
    "BrokerSite",
    "Case",
    "Clock",
    "End",
    "Frame",
    "HTTPAnswer",
    "Listener",
    "ManualLoop",
    "MemoryBroker",
    "MemoryTransport",
    "Network",
    "RawClient",
    "RawServer",
    "Recorder",
    "WaitTimeout",
    "broker_conformance",
    "frame",
    "handshake",
    "live",
    "memory_broker",
    "pair",
    "read_frames",
    "read_response",
    "until",
]


if not TYPE_CHECKING:
    # Type checkers would believe in every name.
    def __getattr__(name: str) -> Any:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module 'fastws.testing' has no attribute {name!r}")
        value = getattr(import_module(f"fastws.testing.{module}"), name)
        globals()[name] = value
        return value
