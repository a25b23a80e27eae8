"""No process that the supervisor has started outlives it."""

from __future__ import annotations

import os
import select
import threading
import time

from fastws.workers.control import Channel

__all__ = ["end_with_parent"]

#: What a process without a supervisor has to end: within a second, also on a machine that has much to do.
ORPHAN_EXIT_SECONDS = 0.6


def end_with_parent(channel: Channel) -> None:
    """Watch the control pair in a thread: when the supervisor is gone, this process ends within a second.

    Also while it imports an application, or its loop is blocked.
    """
    descriptor = os.dup(channel.fileno())

    def watch() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # POLLHUP comes in any case
        poll.poll()
        time.sleep(ORPHAN_EXIT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="fastws-supervisor-watch", daemon=True).start()
