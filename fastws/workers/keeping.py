"""The supervisor's part in the keeper: it starts that process when a worker first wants it, and again
whenever it has ended, and gives each worker a line to it. With a broker the keeper is the gateway to it, is
there from the beginning on, and has a line of the bus to each worker, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import selectors
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from fastws.meters.board import Board
from fastws.pubsub.bus.receiving import FIRST_GATEWAY
from fastws.workers.backoff import CrashHistory
from fastws.workers.child import start_child
from fastws.workers.control import Channel, ControlError
from fastws.workers.states import KEEPER_ROW, Worker, ended_text

__all__ = ["Keeping"]

log = logging.getLogger("fastws.error")

MEANWHILE = "until the next one is there, nothing goes to other nodes and nothing comes from them"


#: Seconds that a gateway has at the end: its broker takes one of them at most.
END_SECONDS = 2.5


class Keeping:
    """One keeper at most. It outlives workers, and ends with the supervisor.

    Args:
        module: what its process runs.
        hello: the values of the first message to it.
        selector: where the supervisor waits; a key of ours has this object as its data.
        hang_timeout: seconds without a sign of life after which it is ended.
        workers: those that are there now.
        tell: sends a message with descriptors to a worker.
        misbehaved: ends a worker, for a reason.
        board: what it measures to, in KEEPER_ROW; None (default): it measures nothing.
    """

    def __init__(
        self,
        module: str,
        hello: dict[str, Any],
        selector: selectors.BaseSelector,
        hang_timeout: float,
        *,
        workers: Callable[[], list[Worker]],
        tell: Callable[..., None],
        misbehaved: Callable[[Worker, str], None],
        board: Board | None = None,
    ) -> None:
        self._module = module
        self._hello = hello
        self._is_gateway = "broker" in hello
        #: What the gateway that runs now is called on the bus.
        self._identity = 0
        self._selector = selector
        self._hang_timeout = hang_timeout
        self._workers = workers
        self._tell = tell
        self._misbehaved = misbehaved
        self._board = board
        #: How many have been started.
        self._number = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._crashes = CrashHistory()
        self._last_beat = 0.0
        #: When it is to be started; None: nobody wants it, or it runs.
        self._start_at: float | None = None

    def begin(self, now: float) -> None:
        """The server starts: a gateway is needed in any case."""
        if self._is_gateway:
            self.want(now)

    @property
    def pid(self) -> int | None:
        """Its process; None where it does not run."""
        process = self._process
        return None if process is None else process.pid

    def want(self, now: float) -> None:
        """Take that a worker has topics with a history."""
        if self._process is None and self._start_at is None:
            self._start_at = now
            self.tick(now)

    def join(self, worker: Worker) -> None:
        """Give a worker a line to the keeper, where that runs."""
        if self._channel is None or self._channel.ended:
            return
        pairs = [socket.socketpair() for _ in range(2 if self._is_gateway else 1)]
        self._channel.send("worker", [ours.detach() for ours, _ in pairs], worker=worker.id)
        lines = [theirs.detach() for _, theirs in pairs]
        gateway = {"gateway": self._identity} if self._is_gateway else {}
        self._tell(worker, "keeper", lines, number=self._number, **gateway)

    def failed(self, number: int, worker: str) -> None:
        """Take that a worker makes no sense of what the keeper of that number says: end that keeper."""
        if self._process is not None and number == self._number:
            log.error("%s makes no sense of what the keeper of histories says: that is ended", worker)
            self.kill()

    def tick(self, now: float) -> None:
        """Look whether it has ended or hangs, and start it when that is due."""
        if self._process is not None:
            self._look(self._process, now)
        if self._process is None and self._start_at is not None and now >= self._start_at:
            self._start(now)

    def _start(self, now: float) -> None:
        try:
            self._process, self._channel = start_child(self._module)
        except OSError as error:
            self._crashed(f"no process can be started: {error}", now)
            return
        self._start_at = None
        self._number += 1
        self._last_beat = now
        self._selector.register(self._channel, selectors.EVENT_READ, self)
        self._identity = FIRST_GATEWAY + secrets.randbits(62)
        gateway = {"identity": self._identity} if self._is_gateway else {}
        board = [] if self._board is None else [os.dup(self._board.fd)]
        self._channel.send("hello", board, **self._hello, **gateway)
        log.info("the keeper of histories (pid %d) starts", self._process.pid)
        for worker in self._workers():
            self.join(worker)

    def _look(self, process: subprocess.Popen[bytes], now: float) -> None:
        if process.poll() is not None:
            self._drop()
            if self._board is not None:
                self._board.clear(KEEPER_ROW)
            self._crashed(
                f"the keeper of histories (pid {process.pid}) {ended_text(process.returncode)}", now
            )
        elif now - self._last_beat >= self._hang_timeout:
            self._last_beat = now
            log.error(
                "the keeper of histories gives no sign of life for %g s: it is ended", self._hang_timeout
            )
            process.kill()

    def _crashed(self, what: str, now: float) -> None:
        delay = self._crashes.add(now)
        self._start_at = now + delay
        if line := self._crashes.line(now, what, delay):
            log.error("%s; %s", line, MEANWHILE if self._is_gateway else "its topics begin a new epoch")

    def read(self, now: float) -> None:
        """Take what it says: signs of life, and of workers that it has let go."""
        if self._channel is None:
            return
        try:
            for message in self._channel.receive():
                self._last_beat = now
                if message.kind == "dropped":
                    self._drop_worker(int(message.values["worker"]))
        except (ControlError, ValueError, TypeError, KeyError) as error:
            log.error("the keeper of histories sends nonsense: %s", error)
            self.kill()
        if self._channel.ended:
            # Else the selector would say so again and again until the process is reaped.
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None

    def _drop_worker(self, identity: int) -> None:
        for worker in self._workers():
            if worker.id == identity:
                self._misbehaved(worker, "what it says to the keeper of histories makes no sense")

    def kill(self) -> None:
        """End it at once: nobody needs it any more."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End it, and wait for that. A gateway hands over what waits for the broker, or says it cannot."""
        if self._process is not None:
            if self._is_gateway and self._channel is not None:
                self._channel.send("end")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_SECONDS)
            self._process.kill()
            self._process.wait()
            self._drop()

    def _drop(self) -> None:
        channel, self._channel, self._process = self._channel, None, None
        if channel is not None:
            self._selector.unregister(channel)
            channel.close()
