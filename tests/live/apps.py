"""Applications for ``fastws serve`` that are the built-in one with less patience."""

from __future__ import annotations

from fastws.apps import builtin
from fastws.apps.chat import TIMEOUTS

__all__ = ["impatient", "quick_pings"]

#: Nobody may stall for more than a second.
impatient = builtin.routes(chat_timeouts={**TIMEOUTS, "write": 1.0})

#: A ping each 0.3 s, and as long for its pong.
quick_pings = builtin.routes(chat_timeouts={**TIMEOUTS, "ping_interval": 0.3, "ping_timeout": 0.3})
