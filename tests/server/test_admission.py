"""Many handshakes in one turn of the loop: some are answered in it, and the others in those that follow."""

from __future__ import annotations

from collections.abc import Callable

from fastws import Request, Response, Route, WebSocket
from fastws.loop.admissions import TURN_HANDSHAKES, Admissions
from tests.kit import ManualLoop, RawClient, Recorder, handshake
from tests.server.sites import Site


class Turns:
    """A loop that can only be told to go on."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.admitted: list[int] = []

    def turn(self) -> None:
        due, self.due = self.due, []
        for each in due:
            each()

    def come(self, admissions: Admissions, *numbers: int) -> None:
        for number in numbers:
            if admissions.take():
                self.admitted.append(number)
            else:
                admissions.wait(lambda number=number: self.admitted.append(number))


class TestAdmissions:
    def test_so_many_in_each_turn_in_their_order(self) -> None:
        turns = Turns()
        admissions = Admissions(lambda call: turns.due.append(call))
        numbers = range(3 * TURN_HANDSHAKES)
        turns.come(admissions, *numbers)
        for count in (1, 2, 3):
            assert turns.admitted == list(numbers[: count * TURN_HANDSHAKES])
            turns.turn()
        turns.turn()
        assert not turns.due

    def test_who_comes_while_others_wait_is_behind_them(self) -> None:
        turns = Turns()
        admissions = Admissions(lambda call: turns.due.append(call))
        turns.come(admissions, *range(TURN_HANDSHAKES + 2))
        turns.turn()
        turns.come(admissions, 100)
        assert turns.admitted[-3:] == [TURN_HANDSHAKES, TURN_HANDSHAKES + 1, 100]

    def test_who_gave_up_takes_no_place(self) -> None:
        turns = Turns()
        admissions = Admissions(lambda call: turns.due.append(call))
        turns.come(admissions, *range(TURN_HANDSHAKES))
        for _ in range(TURN_HANDSHAKES):
            admissions.wait(lambda: turns.admitted.append(-1)).give_up()
        turns.come(admissions, 100)
        turns.turn()
        assert turns.admitted[-1] == 100

    def test_one_that_fails_leaves_the_others_their_turn(self) -> None:
        turns = Turns()
        admissions = Admissions(lambda call: turns.due.append(call))
        turns.come(admissions, *range(TURN_HANDSHAKES))
        admissions.wait(lambda: 1 // 0)
        turns.come(admissions, 100)
        try:
            turns.turn()
        except ZeroDivisionError:
            turns.turn()
        assert turns.admitted[-1] == 100


class TestServer:
    def clients(self, site: Site, count: int) -> list[RawClient]:
        clients = [site.client() for _ in range(count)]
        for client in clients:
            client.send(handshake("/ws"))
        return clients

    def test_a_storm_is_answered_over_several_turns(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/ws", Recorder()))
        clients = self.clients(site, 2 * TURN_HANDSHAKES + 1)
        for opened in (TURN_HANDSHAKES, 2 * TURN_HANDSHAKES, 2 * TURN_HANDSHAKES + 1):
            assert site.server.counters.websockets_opened == opened
            loop.turn()
        assert {client.response().status for client in clients} == {101}

    def test_those_that_are_connected_are_heard_in_between(self, loop: ManualLoop) -> None:
        heard: list[object] = []

        class Heard(Recorder):
            def on_message(self, ws: WebSocket, message: str | bytes) -> None:
                heard.append((message, site.server.counters.websockets_opened))

        site = Site(loop, Route("/ws", Heard()))
        (there,) = self.clients(site, 1)
        loop.settle()
        self.clients(site, 2 * TURN_HANDSHAKES)
        there.text("hello")
        assert heard == [("hello", TURN_HANDSHAKES)]

    def test_who_waits_may_go(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/ws", Recorder()))
        clients = self.clients(site, TURN_HANDSHAKES + 2)
        clients[-2].connection.connection_lost(None)
        loop.settle()
        assert site.server.counters.websockets_opened == TURN_HANDSHAKES + 1
        assert clients[-1].response().status == 101

    def test_authorize_is_asked_when_it_is_its_turn(self, loop: ManualLoop) -> None:
        asked: list[Request] = []

        async def authorize(request: Request) -> Response | None:
            asked.append(request)
            return None

        site = Site(loop, Route("/ws", Recorder(), authorize=authorize))
        clients = self.clients(site, TURN_HANDSHAKES + 1)
        loop.turn()
        assert len(asked) == TURN_HANDSHAKES
        loop.settle()
        assert len(asked) == TURN_HANDSHAKES + 1
        assert clients[-1].response().status == 101

    def test_a_server_that_stops_refuses_who_waits(self, loop: ManualLoop) -> None:
        site = Site(loop, Route("/ws", Recorder()))
        clients = self.clients(site, TURN_HANDSHAKES + 1)
        site.server.close()
        loop.settle()
        assert clients[-1].response().status == 503
