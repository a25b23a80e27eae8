"""The parent of the workers: it starts them, reads what they say, and is told signals.

It runs no event loop and no code of an application, so that nothing a worker does can end or block it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from fastws.meters.board import Board
from fastws.server.shared_page import SharedPage
from fastws.workers.child import start_child
from fastws.workers.control import Channel, ControlError, Message
from fastws.workers.inquiry import Inquiry
from fastws.workers.keeping import Keeping
from fastws.workers.notify import notify_ready, notify_reloading, notify_stopping
from fastws.workers.pool import Pool
from fastws.workers.states import ROWS, Failure, Phase, Rules, Worker
from fastws.workers.terminal import Terminal
from fastws.workers.watch import Watch

__all__ = ["Supervisor"]

log = logging.getLogger("fastws.error")

#: Seconds between two looks at the clock.
TICK_SECONDS = 0.25
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD)


class Supervisor:
    """Keeps workers running until a signal.

    Args:
        module: the module that a worker runs; it gets the descriptor of its control pair as an argument.
        keeper: the module that the keeper of histories runs, which is started when a worker wants it, and the
            values of the first message to it.
        hello: the values of the first message to a worker.
        sockets: the listening sockets, which every worker gets a copy of. The caller closes them.
        workers: how many.
        rules: the settings.
        serving: called once, when all of the first workers are ready.
        board: what they measure to, of ROWS rows; None: nobody measures.
    """

    def __init__(
        self,
        module: str,
        keeper: tuple[str, dict[str, Any]],
        hello: dict[str, Any],
        sockets: list[socket.socket],
        workers: int,
        rules: Rules,
        serving: Callable[[], None],
        board: Board | None = None,
    ) -> None:
        self._module = module
        self._hello = hello
        self._sockets = sockets
        self._serving = serving
        self.pool = Pool(workers, rules, self)
        self._channels: dict[Worker, Channel] = {}
        self._processes: dict[Worker, subprocess.Popen[bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._waker = socket.socketpair()
        self._terminal = Terminal()
        self._page = SharedPage.create(ROWS)
        self._page.board = board
        self._keeping = Keeping(
            *keeper,
            self._selector,
            rules.hang_timeout,
            workers=lambda: list(self._channels),
            tell=self.tell,
            misbehaved=self.pool.misbehaved,
            board=board,
        )
        #: For who looks at the workers from another thread, and who asks them.
        self.watch = Watch(self.pool, self._page, self._keeping)
        self.inquiry = Inquiry(lambda: self.wake(0), self.watch.answering, self.tell)
        #: Workers that could not even be launched.
        self._stillborn: list[Worker] = []
        self._stopped_by = 0

    def run(self) -> tuple[int, Failure | None]:
        """Serve until a signal, or until no worker can start. Return the exit code, and why in that case."""
        self._wakeup.settimeout(0)
        self._waker.settimeout(0)
        self._selector.register(self._wakeup, selectors.EVENT_READ, None)
        with self._signals_taken():
            try:
                self._keeping.begin(time.monotonic())
                self.pool.start(time.monotonic())
                while self.pool.phase is not Phase.ENDED:
                    self._turn()
                if self._stopped_by:
                    self.watch.say_totals()
            finally:
                self._close()
        return self.pool.exit_code, self.pool.failure

    def wake(self, number: int) -> None:
        """Act as if the signal had come, or carry questions (0); may be called by any thread."""
        with contextlib.suppress(OSError):
            self._waker.send(bytes([number]))

    @contextlib.contextmanager
    def _signals_taken(self) -> Iterator[None]:
        """Let signals wake the selector, each with its number (signal.set_wakeup_fd)."""
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        waker = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _turn(self) -> None:
        """Wait for what happens next, and take it. Nothing that goes wrong here ends the supervisor."""
        self.watch.turn()
        for key, _ in self._selector.select(TICK_SECONDS):
            try:
                if key.data is None:
                    self._take_signals()
                elif key.data is self._keeping:
                    self._keeping.read(time.monotonic())
                else:
                    self._take_messages(key.data)
            except Exception:
                log.exception("the supervisor goes on after a failure")
                time.sleep(TICK_SECONDS)
        try:
            self._reap()
            self._read_rows()
            read_memory(self.pool)
            self._keeping.tick(time.monotonic())
            self.pool.tick(time.monotonic())
        except Exception:
            log.exception("the supervisor goes on after a failure")
            time.sleep(TICK_SECONDS)

    # -- signals --------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        for number in self._wakeup.recv(4096):
            if number:
                self._signal(number)
            else:
                self.inquiry.carry()

    def _signal(self, number: int) -> None:
        now = time.monotonic()
        if number in (signal.SIGINT, signal.SIGTERM):
            self._stop(number, now)
        elif number == signal.SIGHUP:
            if self._terminal.hung_up():
                self._stop(signal.SIGTERM, now)
            elif not self._stopped_by:
                self.pool.reload(now)
        elif number == signal.SIGTTIN:
            self.pool.grow(1, now)
        elif number == signal.SIGTTOU:
            self.pool.grow(-1, now)

    def _stop(self, number: int, now: float) -> None:
        if self._stopped_by:
            self.pool.kill()
            self._keeping.kill()
            for process in self._processes.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1.0)
            os._exit(128 + number)
        self._stopped_by = number
        log.info("%s: %d workers stop", signal.Signals(number).name, len(self.pool.workers))
        notify_stopping()
        rules = self.pool.rules
        # Nobody will accept any more: let clients find that out at once.
        for sock in self._sockets:
            sock.close()
        self.pool.stop(now, spread=min(rules.drain, rules.grace / 2) if number == signal.SIGTERM else 0.0)

    # -- workers --------------------------------------------------------------------------------

    def _take_messages(self, worker: Worker) -> None:
        channel = self._channels.get(worker)
        if channel is None:
            return
        try:
            channel.flush()
            for message in channel.receive():
                self._take(worker, message)
        except (ControlError, ValueError, TypeError, KeyError) as error:
            self._drop_channel(worker)
            self.pool.misbehaved(worker, f"its message makes no sense ({error})")
            return
        if channel.ended:
            # It is ending, or has closed its end; without a control pair it is no worker of ours.
            self._drop_channel(worker)
        else:
            self._watch(worker, channel)

    def _take(self, worker: Worker, message: Message) -> None:
        for fd in message.fds:
            os.close(fd)
        now = time.monotonic()
        if message.kind == "ready":
            self.pool.ready(worker, now)
        elif message.kind == "failed":
            self.pool.failed(worker, Failure(str(message.values["text"]), int(message.values["code"])))
        elif message.kind == "leaving":
            self.pool.leaving(worker, now)
        elif message.kind == "resigned":
            self.pool.resigned(worker, now)
        elif message.kind == "keeper":
            self._keeping.want(now)
        elif message.kind == "answer":
            self.inquiry.answered(worker, message)
        elif message.kind == "keeper_failed":
            self._keeping.failed(int(message.values["number"]), str(worker))

    def _reap(self) -> None:
        for worker, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            if worker in self._channels:
                self._take_messages(worker)  # what it said last
                self._drop_channel(worker)
            del self._processes[worker]
            self._page.clear(worker.row)
            self.pool.exited(worker, process.returncode, time.monotonic())
        while self._stillborn:
            self.pool.exited(self._stillborn.pop(), 1, time.monotonic())

    def _read_rows(self) -> None:
        for worker in list(self.pool.workers):
            # Of the same clock: CLOCK_MONOTONIC is the system's.
            beat = self._page.row(worker.row).heartbeat / 1e9
            if beat > worker.last_beat:
                messages = self._page.messages_received(worker.row) - worker.messages_before
                self.pool.beat(worker, beat, messages=messages)

    def _watch(self, worker: Worker, channel: Channel) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.has_output else 0)
        if self._selector.get_key(channel).events != events:
            self._selector.modify(channel, events, worker)

    def _drop_channel(self, worker: Worker) -> None:
        channel = self._channels.pop(worker, None)
        if channel is not None:
            self._selector.unregister(channel)
            channel.close()
            self.inquiry.lost(worker)

    def _close(self) -> None:
        """Leave nothing behind: whoever still runs is ended."""
        self.pool.kill()
        for process in self._processes.values():
            process.wait()
        self._keeping.close()
        for worker in list(self._channels):
            self._drop_channel(worker)
        self._selector.close()
        self._wakeup.close()
        self._waker.close()
        self._page.close()

    # -- what the pool asks for -----------------------------------------------------------------

    def launch(self, worker: Worker) -> None:
        """Start a process; send it options, listeners, and a socket pair with each other worker."""
        try:
            process, channel = start_child(self._module)
        except OSError as error:
            worker.failure = Failure(f"no process can be started: {error}")
            self._stillborn.append(worker)
            return
        worker.pid = process.pid
        worker.messages_before = self._page.messages_received(worker.row)
        self._processes[worker] = process
        self._channels[worker] = channel
        self._selector.register(channel, selectors.EVENT_READ, worker)
        board = self._page.board
        fds = [self._page.fd, *(sock.fileno() for sock in self._sockets)]
        fds += [] if board is None else [board.fd]
        hello = {**self._hello, "worker": worker.id, "row": worker.row, "measures": board is not None}
        self.tell(worker, "hello", [os.dup(fd) for fd in fds], **hello)
        for other in list(self._channels):
            if other is not worker:
                one, two = socket.socketpair()
                self.tell(worker, "peer", [one.detach()], worker=other.id)
                self.tell(other, "peer", [two.detach()], worker=worker.id)
        self._keeping.join(worker)

    def tell(self, worker: Worker, kind: str, fds: list[int] | None = None, /, **values: Any) -> None:
        """Send a message; to a worker that has gone, nothing."""
        channel = self._channels.get(worker)
        if channel is None:
            for fd in fds or ():
                os.close(fd)
            return
        channel.send(kind, fds or (), **values)
        if not channel.ended:
            self._watch(worker, channel)

    def end(self, worker: Worker, *, at_once: bool) -> None:
        """Send SIGKILL, or SIGTERM."""
        process = self._processes.get(worker)
        if process is not None:
            process.send_signal(signal.SIGKILL if at_once else signal.SIGTERM)

    def say(self, level: str, text: str) -> None:
        """Write a line to the log."""
        log.log(getattr(logging, level.upper()), "%s", text)

    def serving(self) -> None:
        """All of the first workers are ready."""
        self._serving()
        notify_ready()

    def reloading(self) -> None:
        """A reload begins."""
        notify_reloading()

    def reloaded(self) -> None:
        """A reload has ended."""
        notify_ready()


def read_memory(pool: Pool) -> None:
    """Tell the pool how much memory each worker holds, where that has a limit."""
    if pool.rules.max_rss is not None:
        for worker in list(pool.workers):
            if (rss := resident_size(worker.pid)) is not None:
                pool.memory(worker, rss, time.monotonic())


def resident_size(pid: int) -> int | None:
    """The resident memory of a process in bytes; None where the system does not say (proc(5))."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
