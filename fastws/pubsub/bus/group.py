"""A bus of processes that somebody else started: they meet in a directory.

Each process listens on a socket in it and connects to those of the others that are there. Under a lock one
joins at a time, so that two processes have one connection between them. Only processes of the same user get
in: the directory is theirs alone, and the kernel is asked who is at the other end of each socket.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from contextlib import suppress

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.directory import Directory

__all__ = ["Group"]

log = logging.getLogger("fastws.error")

#: Seconds between two looks at a lock or at who has said hello.
PAUSE = 0.005
#: Seconds that members have to answer a newcomer.
HELLO_SECONDS = 1.0
#: Seconds of the first and the longest pause after a failure.
RETRY, LONGEST_RETRY = 1.0, 30.0
#: Seconds between two looks at the directory.
LOOK_SECONDS = 5.0
#: Turns of the loop for which a member stays when all tasks of its loop are cancelled: they may publish.
LAST_TURNS = 3


class Group:
    """This process's membership of the bus at a path. It starts at its first use, or by :meth:`start`.

    While it lasts a task looks after it. When the loop ends, which cancels all tasks, the membership does,
    and a later loop may begin another one.
    """

    def __init__(self, path: str) -> None:
        self.bus = Bus(0)
        self.bus.on_first_use = self.start_soon
        self.bus.on_loop_gone = self._forget
        self._directory = Directory(path)
        self._staying: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()
        self._listener: socket.socket | None = None
        #: The last line of the log: no line stands there twice in a row.
        self._said = ""

    async def start(self, timeout: float) -> None:
        """Join, and wait until those who are there have answered: what they publish then comes here.

        Raises :class:`BrokerUnavailable` where that cannot be, or not in ``timeout`` seconds.
        """
        self.bus.forget_closed_loop()
        async with self._joining:
            if self.bus.loop is None:
                try:
                    await asyncio.wait_for(self._join(), timeout)
                except TimeoutError:
                    path = self._directory.path
                    text = f"bus:{path}: not joined within {timeout:g} s: another process joins"
                    raise BrokerUnavailable(text) from None
            await self._greet()  # also where a first use has joined at once, which waits for nobody
        self._stay_on(asyncio.get_running_loop())

    def start_soon(self) -> None:
        """Join at once where that can be, else in the background; without a running loop a later use does."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self._staying is not None and self._staying.get_loop() is not loop:
            self._staying, self._joining = None, asyncio.Lock()
        if not self._joining.locked() and self._staying is None:
            with suppress(BrokerUnavailable):  # the task tries again, and tells
                self._try_to_join()
            self._stay_on(loop)

    async def close(self) -> None:
        """Leave the bus."""
        staying, self._staying = self._staying, None
        if staying is not None:
            staying.cancel()
        await self.bus.close()
        self._let_go()

    def after_fork(self) -> None:
        """Begin anew in a child process: the sockets are its parent's, and so is what was published."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._staying = None
        self._joining = asyncio.Lock()
        self.bus.reset(forked=True)

    # -- joining --------------------------------------------------------------------------------

    async def _join(self) -> None:
        while not self._try_to_join():
            await asyncio.sleep(PAUSE)

    def _try_to_join(self) -> bool:
        """Join without waiting; False while another process does. Raises :class:`BrokerUnavailable`."""
        directory, bus = self._directory, self.bus
        try:
            directory.check()
            with directory.locked() as is_ours:
                if not is_ours:
                    return False
                bus.identity = secrets.randbits(63)
                self._listener = directory.listen(bus.identity)
                for identity in directory.members() - {bus.identity}:
                    self._connect(identity)
                bus.begin()
                self._read_listener()
        except OSError as error:
            self._let_go()
            raise BrokerUnavailable(f"bus:{directory.path}: {error.strerror or error}") from None
        except BrokerUnavailable:
            self._let_go()
            raise
        return True

    def _connect(self, identity: int) -> None:
        try:
            sock = self._directory.connect(identity)
        except BlockingIOError:
            self._say(f"process {identity} accepts nobody; it is tried again")
            return
        if sock is not None:
            self.bus.add_peer(sock, identity)

    def _read_listener(self) -> None:
        assert self._listener is not None
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            accepted = self._directory.checked(sock)
            if accepted is not None:
                self.bus.add_peer(accepted)

    async def _greet(self) -> None:
        """Wait until the members that are there have said hello, which they do when they take this one in."""
        for _ in range(int(HELLO_SECONDS / PAUSE)):
            if all(peer.has_said_hello for peer in self.bus.peers):
                return
            await asyncio.sleep(PAUSE)
        silent = ", ".join(str(peer.identity) for peer in self.bus.peers if not peer.has_said_hello)
        self._say(f"no answer yet of process {silent}")

    # -- staying --------------------------------------------------------------------------------

    def _stay_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._staying is None:
            self._staying = loop.create_task(self._stay())

    async def _stay(self) -> None:
        try:
            await self._keep_trying()
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self._look()
        except asyncio.CancelledError:
            if self._staying is asyncio.current_task():
                for _ in range(LAST_TURNS):
                    await asyncio.sleep(0)
                await self.bus.close()
                self._forget()
            raise

    async def _keep_trying(self) -> None:
        pause = RETRY
        while True:
            try:
                await self.start(LONGEST_RETRY)
            except BrokerUnavailable as error:
                self._say(f"{error}; what is published stays in this process")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY)
            else:
                return

    def _look(self) -> None:
        """Be where others look for this process, and connect to those that are there and not connected."""
        directory, bus = self._directory, self.bus
        try:
            directory.check()
            known = {bus.identity, *[peer.identity for peer in bus.peers]}
            if directory.members() == known:
                return
            with directory.locked() as is_ours:
                if is_ours:
                    self._meet_again()
        except (BrokerUnavailable, OSError) as error:
            self._say(f"nobody can join: {error}")

    def _meet_again(self) -> None:
        directory, bus = self._directory, self.bus
        self._accept()
        members = directory.members()
        if bus.identity not in members:
            self._say("somebody has removed the socket of this process; it is made again")
            assert self._listener is not None and bus.loop is not None
            bus.loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = directory.listen(bus.identity)
            self._read_listener()
        known = {peer.identity for peer in bus.peers}
        if None in known:  # it may be one of those
            return
        for identity in members - known - {bus.identity}:
            self._connect(identity)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            log.error("%s", text if text.startswith("bus:") else f"bus:{self._directory.path}: {text}")

    # -- leaving --------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Begin anew when there is a loop again."""
        self._let_go()
        self._staying = None
        self._joining = asyncio.Lock()
        self.bus.reset()

    def _let_go(self) -> None:
        """Give the sockets back."""
        for peer in self.bus.peers if self.bus.loop is None else ():
            self.bus.drop(peer)
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(listener.fileno())
            listener.close()
            with suppress(OSError):
                self._directory.socket_of(self.bus.identity).unlink()
