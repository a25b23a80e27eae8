"""What tests of an application need: a loop and a network without time and sockets.

``ManualLoop`` runs turns by hand on a clock that stands still until it is moved; ``Network`` gives
any loop listeners and connections in memory; ``MemoryTransport`` is one end of such a connection
and can refuse bytes as a slow peer's socket does; ``RawClient`` speaks bytes to a server, and can
stall, read slowly or vanish; ``Pair`` is a server and a client, both real, joined in memory.
"""

from __future__ import annotations

from tests.kit.fanout import Kernel
from tests.kit.loop import ManualLoop
from tests.kit.network import Listener, Network
from tests.kit.peers import Pair, RawClient, RawServer, Recorder
from tests.kit.transport import MemoryTransport
from tests.kit.wire import Frame, HTTPAnswer, frame, handshake, read_frames, read_response

__all__ = [
    "Frame",
    "HTTPAnswer",
    "Kernel",
    "Listener",
    "ManualLoop",
    "MemoryTransport",
    "Network",
    "Pair",
    "RawClient",
    "RawServer",
    "Recorder",
    "frame",
    "handshake",
    "read_frames",
    "read_response",
]
