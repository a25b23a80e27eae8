"""The parent's side of the generator processes of a run."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import subprocess
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import orjson

from fastws._version import child_command
from fastws.loadgen.plan import LoadgenError, Plan
from fastws.loadgen.target import Target
from fastws.loadgen.worker import Share

__all__ = ["Fleet", "raise_descriptor_limit"]

#: File descriptors that a process needs besides those of its clients.
SPARE_DESCRIPTORS = 32
EXIT_SECONDS = 5.0


class Fleet:
    """A context manager: the processes start before it and have ended after it."""

    def __init__(self, plan: Plan, targets: tuple[Target, ...]) -> None:
        """Start the processes. Raises LoadgenError where a process may not have enough descriptors."""
        raise_descriptor_limit(plan)
        base = time.monotonic_ns()
        self._selector = selectors.DefaultSelector()
        self._incomplete: list[bytes] = [b""] * plan.processes
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for process in range(plan.processes):
                self._start(Share(plan, targets, process, base))
        except BaseException:
            self._end()
            raise

    def _start(self, share: Share) -> None:
        process = subprocess.Popen(
            child_command("fastws.loadgen"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._processes.append(process)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, share.process)
        self._write(process, share.to_json())

    def _write(self, process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `events` notices that the process has ended
            process.stdin.write(line + b"\n")

    def command(self, name: str, **details: float) -> None:
        """Send ``run`` or ``stop`` to all processes."""
        for process in self._processes:
            self._write(process, orjson.dumps({"command": name, **details}))

    def events(self, timeout: float) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (process number, event) of what came within ``timeout`` seconds.

        Raises LoadgenError where a process has ended.
        """
        for key, _ in self._selector.select(max(0.0, timeout)):
            process = key.data
            chunk = os.read(key.fd, 1 << 20)
            if not chunk:
                status = self._processes[process].wait()
                raise LoadgenError(f"a generator process ended with status {status}")
            *lines, self._incomplete[process] = (self._incomplete[process] + chunk).split(b"\n")
            for line in lines:
                event = orjson.loads(line)
                if event["event"] == "failed":
                    raise LoadgenError(event["text"])
                yield process, event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Close the pipes: then each process closes its connections and ends."""
        self._selector.close()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        for process in self._processes:
            try:
                process.wait(EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def raise_descriptor_limit(plan: Plan) -> None:
    """Raise the soft limit of this process and its children to one descriptor for each client of a share.

    Raises LoadgenError where the hard limit is lower.
    """
    clients = plan.share(0)
    needed = clients + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed <= soft or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        fitting = -(-plan.clients // max(1, hard - SPARE_DESCRIPTORS))
        raise LoadgenError(
            f"{clients:,} clients in one process need {needed:,} file descriptors, and the hard limit is "
            f"{hard:,}: raise it (ulimit -Hn {needed} as root, LimitNOFILE= in systemd, nofile in "
            f"/etc/security/limits.conf), or share the clients with --processes {fitting}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))
