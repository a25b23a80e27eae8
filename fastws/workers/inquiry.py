"""Questions of another thread to all workers, which the supervisor carries to them and back."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fastws.workers.control import Message
from fastws.workers.states import Worker

__all__ = ["Inquiry"]


class Question:
    """One question: whose answers are missing, and those that have come, by the number of the worker."""

    def __init__(self, kind: str, values: dict[str, Any]) -> None:
        self.kind = kind
        self.values = values
        self.silent: set[Worker] = set()
        self.answers: dict[int, Any] = {}
        self.done: Future[dict[int, Any]] = Future()

    def take(self, worker: Worker, answer: Any) -> None:
        if worker in self.silent:
            self.silent.discard(worker)
            if answer is not None:
                self.answers[worker.id] = answer
        self.end_if_complete()

    def end_if_complete(self) -> None:
        if not self.silent and not self.done.done():
            self.done.set_result(self.answers)


class Inquiry:
    """The questions that wait. :meth:`ask` and :meth:`give_up` may be called in any thread.

    Args:
        wake: lets the supervisor call :meth:`carry` soon; for any thread.
        workers: those that can be asked.
        tell: sends a message to a worker.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        workers: Callable[[], list[Worker]],
        tell: Callable[..., None],
    ) -> None:
        self._wake = wake
        self._workers = workers
        self._tell = tell
        self._numbers = itertools.count(1)
        self._new: deque[tuple[int, Question]] = deque()
        self._open: dict[int, Question] = {}
        self._lock = threading.Lock()

    def ask(self, kind: str, **values: Any) -> tuple[int, Future[dict[int, Any]]]:
        """Ask all workers. Return the number of the question, and the future of their answers."""
        question = Question(kind, values)
        with self._lock:
            number = next(self._numbers)
            self._open[number] = question
        self._new.append((number, question))
        self._wake()
        return number, question.done

    def give_up(self, number: int) -> dict[int, Any]:
        """Wait no more; return the answers that have come."""
        with self._lock:
            question = self._open.pop(number, None)
        return {} if question is None else dict(question.answers)

    def carry(self) -> None:
        """Send what is new."""
        while self._new:
            number, question = self._new.popleft()
            workers = self._workers()
            question.silent = set(workers)
            for worker in workers:
                self._tell(worker, "question", number=number, ask=question.kind, values=question.values)
            question.end_if_complete()

    def answered(self, worker: Worker, message: Message) -> None:
        """Take the answer of a worker."""
        question = self._open.get(int(message.values["number"]))
        if question is not None:
            question.take(worker, message.values["answer"])

    def lost(self, worker: Worker) -> None:
        """Wait no more for a worker that has gone."""
        for question in list(self._open.values()):
            question.take(worker, None)
