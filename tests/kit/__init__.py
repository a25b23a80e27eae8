"""What the tests of fastws need beyond ``fastws.testing``, whose names are here too.

``Kernel`` stands in for the C module that writes past transports; ``Pair`` is a server and a client on
a ``ManualLoop``, from the outside.
"""

from __future__ import annotations

import math
from functools import partial

import fastws.testing
from fastws.testing import (
    Frame,
    HTTPAnswer,
    Listener,
    ManualLoop,
    MemoryTransport,
    Network,
    RawServer,
    Recorder,
    frame,
    handshake,
    read_frames,
    read_response,
)
from fastws.testing import wire as wire
from tests.kit.fanout import Kernel
from tests.kit.peers import Pair, RawClient

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
    "until",
    "wire",
]

#: As that of ``fastws.testing``, without a limit of its own: that of the test has the stacks of all threads.
until = partial(fastws.testing.until, timeout=math.inf)
