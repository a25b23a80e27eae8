"""The states of all workers: which run, which leave, which start, and what happens next.

No process, socket or clock is here: the pool is told what has happened and the time, and calls verbs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fastws.workers.backoff import CrashHistory
from fastws.workers.leader import Leadership
from fastws.workers.states import (
    MAX_WORKERS,
    Actions,
    Failure,
    Phase,
    Rules,
    State,
    Worker,
    ended_text,
    failure_of,
)

__all__ = ["Pool"]

#: The close code of a client that is to connect again (RFC 6455's registry: Service Restart).
SERVICE_RESTART = 1012
#: Seconds after its time to leave at which a worker is ended.
KILL_SECONDS = 1.0
#: Seconds until the log says, and says again, that a worker has not become ready.
SLOW_START_SECONDS = 30.0
#: A worker that holds so many times its limit of memory is ended at once.
HARD_MEMORY_FACTOR = 1.5
#: A worker is replaced for its memory so long after it became ready, and again when its successor has failed.
#: Where the limit is below what every worker needs, they would replace each other without a pause.
MEMORY_SECONDS = 60.0
#: Lifetimes and numbers of messages are shortened by up to this part, so that workers do not leave together.
JITTER = 0.2


@dataclass(slots=True)
class _Roll:
    """Workers that are to be replaced, one after the other."""

    outdated: list[Worker] = field(default_factory=list)
    successor: Worker | None = None
    is_reload: bool = False

    def leaving(self) -> list[Worker]:
        """Return those that are replaced now or later."""
        now = self.successor and self.successor.predecessor
        return [*self.outdated, now] if now else self.outdated


class Pool:
    """Keeps ``wanted`` workers ready. Each method is told the time, in seconds of any steady clock."""

    def __init__(
        self, wanted: int, rules: Rules, actions: Actions, draw: Callable[[], float] = random.random
    ) -> None:
        self.wanted = wanted
        self.rules = rules
        self.phase = Phase.STARTING
        self.workers: list[Worker] = []
        self.exit_code = 0
        #: Why the server could not start.
        self.failure: Failure | None = None
        self._actions = actions
        self._draw = draw
        self._crashes = CrashHistory()
        #: When each restart that a crash holds back is due.
        self._held_back: list[float] = []
        self._last_id = 0
        self._leadership = Leadership(actions)
        self._roll = _Roll()

    # -- what happens ---------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Launch the first workers."""
        self._fill(now)

    def ready(self, worker: Worker, now: float) -> None:
        """Take a worker that serves."""
        if worker.state is not State.STARTING or self.phase is Phase.STOPPING:
            return
        worker.state = State.READY
        worker.last_beat = now
        worker.next_notice = now + MEMORY_SECONDS
        shorter = 1.0 - JITTER * self._draw()
        if self.rules.max_lifetime is not None:
            worker.retires_at = now + self.rules.max_lifetime * shorter
        if self.rules.max_messages is not None:
            worker.max_messages = max(1, int(self.rules.max_messages * shorter))
        self._actions.say("info", f"{worker} is ready")
        if worker is self._roll.successor:
            self._roll.successor = None
            if worker.predecessor in self.workers:
                self._drain(worker.predecessor, now)
        worker.predecessor = None
        if self.phase is Phase.STARTING and all(each.state is State.READY for each in self.workers):
            self.phase = Phase.RUNNING
            self._actions.serving()
        self._step(now)

    def beat(self, worker: Worker, now: float, *, messages: int = 0) -> None:
        """Take a sign of life, with the number of messages that the worker has received so far."""
        worker.last_beat = now
        if worker.max_messages is not None and messages >= worker.max_messages:
            worker.max_messages = None
            self._recycle(
                worker, f"{worker} has received {messages:,} messages: a new one takes its place", now
            )

    def memory(self, worker: Worker, rss: int, now: float) -> None:
        """Take the resident memory of a worker, in bytes."""
        limit = self.rules.max_rss
        if limit is None or rss <= limit or worker.is_killed:
            return
        what = f"{worker} holds {rss / 1e6:,.0f} MB of memory, and --worker-max-rss is {limit / 1e6:,.0f} MB"
        if rss > limit * HARD_MEMORY_FACTOR or worker.state is State.STARTING:
            worker.failure = Failure(what)
            self._kill(worker, f"{what}: it is ended")
        elif worker.state is State.READY and now >= worker.next_notice:
            worker.next_notice = now + MEMORY_SECONDS
            self._recycle(worker, f"{what}: a new one takes its place", now)

    def failed(self, worker: Worker, failure: Failure) -> None:
        """Take what a worker says of its failure before it ends."""
        worker.failure = failure

    def leaving(self, worker: Worker, now: float) -> None:
        """Take a worker that leaves because somebody has told it so by a signal."""
        if worker.state is State.READY and self.phase is not Phase.STOPPING:
            self._actions.say("info", f"{worker} was told to stop: a new one takes its place")
            self._leave(worker, now + self.rules.grace + KILL_SECONDS)
            self._step(now)

    def resigned(self, worker: Worker, now: float) -> None:
        """Take a leader whose ``once`` tasks have ended: the next one may begin them."""
        self._leadership.resigned(worker)
        self._step(now)

    def misbehaved(self, worker: Worker, what: str) -> None:
        """End a worker whose messages make no sense."""
        self._kill(worker, f"{worker}: {what}: it is ended")

    def exited(self, worker: Worker, status: int, now: float) -> None:
        """Take the end of a process: its exit status, or minus the signal, as ``Popen.returncode``."""
        self.workers.remove(worker)
        if self.phase is Phase.STOPPING:
            self._step(now)
            return
        ended = ended_text(status)
        if worker.state is State.LEAVING:
            if status and not worker.is_killed:
                self._actions.say("warning", f"{worker} {ended} while it left")
        elif self.phase is Phase.STARTING and worker.state is State.STARTING:
            self.failure = failure_of(worker, ended)
            self.exit_code = self.failure.code
            self.stop(now, spread=0.0)
        elif worker is self._roll.successor and worker.predecessor in self.workers:
            self._roll_failed(worker, ended, now)
        else:
            self._crashed(worker, ended, now)
        self._step(now)

    def tick(self, now: float) -> None:
        """Look at the clock; at least twice a second."""
        for worker in list(self.workers):
            if worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                self._kill(worker, f"{worker} has not left in time: it is ended")
            elif worker.state is State.STARTING:
                self._notice_slow_start(worker, now)
            elif now - worker.last_beat >= self.rules.hang_timeout:
                silent = f"has given no sign of life for {self.rules.hang_timeout:g} s"
                self._kill(worker, f"{worker} {silent}: it is ended")
            elif worker.retires_at is not None and now >= worker.retires_at:
                worker.retires_at = None
                self._recycle(worker, f"{worker} has reached --max-lifetime: a new one takes its place", now)
        self._step(now)

    # -- what a person asks ---------------------------------------------------------------------

    def reload(self, now: float) -> None:
        """Replace all workers, one after the other; each leaves when its successor is ready."""
        if self.phase is not Phase.RUNNING:
            self._actions.say("warning", "no reload: the server starts or stops")
            return
        self._actions.say("info", f"reload: {self.wanted} workers are replaced, one after the other")
        if not self._roll.is_reload:
            self._actions.reloading()
        self._roll.is_reload = True
        successor, self._roll.successor = self._roll.successor, None
        if successor is not None:
            # It may have read the application before that changed, or hang in what was mended meanwhile.
            self._give_up(successor)
        self._roll.outdated = [each for each in self.workers if each.state is not State.LEAVING]
        self._step(now)

    def grow(self, by: int, now: float) -> None:
        """Change the number of workers, within 1 and MAX_WORKERS."""
        if self.phase is Phase.STOPPING:
            return
        self.wanted = min(max(self.wanted + by, 1), MAX_WORKERS)
        self._actions.say("info", f"{self.wanted} workers are wanted")
        self._step(now)

    def stop(self, now: float, *, spread: float) -> None:
        """Let all workers leave within ``rules.grace``, their closes spread over ``spread`` seconds."""
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.STOPPING
        for worker in self.workers:
            if worker.state is State.STARTING:
                worker.last_beat = now
                self._actions.end(worker, at_once=False)
            else:
                self._actions.tell(worker, "stop", grace=self.rules.grace, spread=spread)
            self._leave(worker, now + self.rules.grace + KILL_SECONDS)
        self._step(now)

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self.workers:
            self._actions.end(worker, at_once=True)

    # -- what follows ---------------------------------------------------------------------------

    def _step(self, now: float) -> None:
        """Do what is due after anything has changed."""
        if self.phase is Phase.STOPPING and not self.workers:
            self.phase = Phase.ENDED
        if self.phase is Phase.STOPPING or self.phase is Phase.ENDED:
            return
        self._advance_roll(now)
        self._fill(now)
        self._shrink(now)
        self._leadership.choose(self.workers, self._roll.leaving())

    def _fill(self, now: float) -> None:
        """Launch the workers that are missing, but for those that a crash holds back."""
        self._held_back = [due for due in self._held_back if due > now]
        while len(self._lasting()) + len(self._held_back) < self.wanted:
            self._launch(now, None)

    def _lasting(self) -> list[Worker]:
        """Those that count: not those that leave, nor one that waits to replace another."""
        return [
            each
            for each in self.workers
            if each.state is not State.LEAVING and each.predecessor not in self.workers
        ]

    def _launch(self, now: float, predecessor: Worker | None) -> Worker:
        self._last_id += 1
        rows = {each.row for each in self.workers}
        row = next(number for number in range(len(rows) + 1) if number not in rows)
        worker = Worker(self._last_id, row, now, predecessor=predecessor)
        worker.next_notice = now + SLOW_START_SECONDS
        self.workers.append(worker)
        self._actions.launch(worker)
        return worker

    def _shrink(self, now: float) -> None:
        """Let the youngest go where there are more than wanted."""
        ready = [each for each in self._lasting() if each.state is State.READY]
        starting = [each for each in self._lasting() if each.state is State.STARTING]
        for worker in [*starting[::-1], *ready[::-1]][: max(len(self._lasting()) - self.wanted, 0)]:
            if worker.state is State.STARTING:
                self._give_up(worker)
            else:
                self._drain(worker, now)

    def _advance_roll(self, now: float) -> None:
        roll = self._roll
        if roll.successor is not None:
            return
        while roll.outdated:
            oldest = roll.outdated.pop(0)
            # One that has crashed or left meanwhile is replaced already.
            if oldest in self.workers and oldest.state is not State.LEAVING:
                roll.successor = self._launch(now, oldest)
                return
        if roll.is_reload:
            roll.is_reload = False
            self._actions.say("info", "reload: done")
            self._actions.reloaded()

    def _recycle(self, worker: Worker, text: str, now: float) -> None:
        if worker.state is not State.READY or worker in self._roll.leaving():
            return
        self._actions.say("info", text)
        self._roll.outdated.append(worker)
        self._step(now)

    def _drain(self, worker: Worker, now: float) -> None:
        drain = self.rules.drain
        self._leave(worker, now + drain + self.rules.grace + KILL_SECONDS)
        self._actions.tell(worker, "drain", seconds=drain, grace=self.rules.grace, code=SERVICE_RESTART)

    def _give_up(self, worker: Worker) -> None:
        """End a worker that is not ready yet, and is no longer wanted."""
        worker.state = State.LEAVING
        worker.is_killed = True
        self._actions.end(worker, at_once=True)

    def _leave(self, worker: Worker, kill_at: float) -> None:
        worker.state = State.LEAVING
        worker.kill_at = kill_at

    def _kill(self, worker: Worker, text: str) -> None:
        if not worker.is_killed:
            worker.is_killed = True
            self._actions.say("error", text)
        self._actions.end(worker, at_once=True)

    def _roll_failed(self, worker: Worker, ended: str, now: float) -> None:
        roll, self._roll = self._roll, _Roll()
        kept = sum(each.state is State.READY for each in self.workers)
        why = failure_of(worker, ended).text
        self._actions.say("error", f"the new worker cannot start, so the {kept} that serve stay: {why}")
        for old in [*roll.outdated, worker.predecessor]:
            if old is not None and self.rules.max_lifetime is not None:
                old.retires_at = now + self.rules.max_lifetime
        if roll.is_reload:
            self._actions.reloaded()

    def _crashed(self, worker: Worker, ended: str, now: float) -> None:
        if worker is self._roll.successor:
            self._roll.successor = None
        delay = self._crashes.add(now)
        self._held_back.append(now + delay)
        what = f"{worker} {ended}"
        if worker.state is State.STARTING:
            what += f" before it was ready{': ' + worker.failure.text if worker.failure else ''}"
        if line := self._crashes.line(now, what, delay):
            self._actions.say("error", line)

    def _notice_slow_start(self, worker: Worker, now: float) -> None:
        if now >= worker.next_notice:
            worker.next_notice = now + 2 * SLOW_START_SECONDS
            slow = f"not ready after {now - worker.started:.0f} s: the application starts slowly"
            self._actions.say("warning", f"{worker} is {slow}")
