"""Which worker leads: the ``once`` tasks of an application run there, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

from fastws.workers.states import Actions, State, Worker

__all__ = ["Leadership"]


class Leadership:
    """Lets one worker lead. The next one does when that has said that its tasks have ended, or is dead."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._leader: Worker | None = None
        #: The leader has been told to resign.
        self._is_resigning = False

    def choose(self, workers: Sequence[Worker], outdated: Sequence[Worker]) -> None:
        """Look who of ``workers`` leads; somebody who is not ``outdated`` is preferred as the next one."""
        leader = self._leader
        if leader is not None and leader in workers:
            if leader.state is not State.READY and not self._is_resigning:
                self._is_resigning = True
                self._actions.tell(leader, "lead", value=False)
            return
        self._is_resigning = False
        ready = [each for each in workers if each.state is State.READY]
        ready.sort(key=lambda each: each in outdated)
        self._leader = ready[0] if ready else None
        if self._leader is not None:
            self._actions.tell(self._leader, "lead", value=True)

    def resigned(self, worker: Worker) -> None:
        """Take that the ``once`` tasks of a worker have ended."""
        if worker is self._leader:
            self._leader = None
