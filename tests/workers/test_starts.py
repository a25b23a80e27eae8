"""Applications and options of ``fastws serve --workers 2``, and workers that do not start."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.helpers import PATIENCE, Child, fastws, get, running
from tests.workers.helpers import ask, opened, said, until
from tests.workers.processes import gone, pids, wait_gone

#: Each wait has its end; many of them may come to more than a test has by default.
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

PAGE = "import fastws\nroutes = [fastws.Route('/', http=lambda request: fastws.Response(200, '{}'))]\n"

STARLETTE = """
import contextlib
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

def note(what):
    with open("notes", "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

@contextlib.asynccontextmanager
async def lifespan(app):
    note("startup")
    yield {"pid": os.getpid()}
    note("shutdown")

async def echo(websocket):
    await websocket.accept()
    await websocket.send_text(str(websocket.state.pid))
    async for text in websocket.iter_text():
        await websocket.send_text(text)

async def page(request):
    return PlainTextResponse(str(request.state.pid))

def make():
    note("made")
    return Starlette(routes=[WebSocketRoute("/ws", echo), Route("/", page)], lifespan=lifespan)
"""


def notes(folder: Path) -> list[tuple[str, int]]:
    path = folder / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def unix_get(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        return ask(client)


def text_frame(client: socket.socket) -> bytes:
    """The payload of the next short frame."""
    head = client.recv(2)
    assert head[0] == 0x81
    return client.recv(head[1])


def test_an_asgi_application_has_its_lifespan_in_each_worker(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    (tmp_path / "app.py").write_text(STARLETTE)
    args = ["app:make", "--factory", "--port", 0, "--workers", 2]
    with running(tmp_path, "serve", *args) as server:
        address = server.address()
        workers = set(pids(server, 2))
        clients = [opened(address, "/ws") for _ in range(20)]
        assert {int(text_frame(client)) for client in clients} == workers
        for client in clients:
            client.sendall(b"\x81\x82\0\0\0\0hi")
            assert text_frame(client) == b"hi"
            client.close()
        assert int(get(address, "/")[2]) in workers
        assert Counter(what for what, _ in notes(tmp_path)) == {"made": 2, "startup": 2}
        assert server.stop() == 0
    for what in ("made", "startup", "shutdown"):
        assert {pid for each, pid in notes(tmp_path) if each == what} == workers
    assert len(notes(tmp_path)) == 6
    assert "Traceback" not in server.stderr()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_unix_socket_is_shared_and_removed(tmp_path: Path, number: int) -> None:
    path = tmp_path / "s"
    with running(tmp_path, "serve", "--uds", path, "--workers", 2, "--timeout-drain", 0) as server:
        server.line(f"Serving on unix:{path} ")
        for pid in pids(server, 2)[:1]:
            os.kill(pid, signal.SIGKILL)
        pids(server, 3)
        assert all(b"ok\n" in unix_get(path) for _ in range(20))
        server.process.send_signal(signal.SIGHUP)
        until(said(server, "reload: done"))
        assert path.exists() and b"ok\n" in unix_get(path)
        assert server.stop(number) == 0
    assert not path.exists()


def test_a_socket_of_systemd_is_shared_and_outlives_the_server(tmp_path: Path) -> None:
    with socket.socket() as inherited:
        inherited.bind(("127.0.0.1", 0))
        inherited.listen(100)
        address = f"http://127.0.0.1:{inherited.getsockname()[1]}"
        number = inherited.fileno()
        for _ in range(2):  # the next service takes the same socket
            args = ["--fd", number, "--workers", 2]
            with running(tmp_path, "serve", *args, pass_fds=(number,), LISTEN_FDS="1") as server:
                assert server.address() == address
                pids(server, 2)
                assert get(address)[0] == 200
                assert server.stop() == 0
        # Between two services connections wait in it.
        with socket.create_connection(inherited.getsockname(), 5):
            pass


def test_several_addresses_are_shared(tmp_path: Path) -> None:
    path = tmp_path / "s"
    args = ["--bind", "127.0.0.1:0", "--uds", path, "--workers", 2]
    with running(tmp_path, "serve", *args) as server:
        address = server.address()
        server.line(f"Serving on unix:{path} ")
        pids(server, 2)
        for _ in range(10):
            assert get(address)[0] == 200
            assert b"ok\n" in unix_get(path)
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--max-lifetime", 1], "has reached --max-lifetime: a new one takes its place"),
        (["--limit-max-messages", 30], "messages: a new one takes its place"),
    ],
)
def test_workers_are_replaced_by_age_and_by_messages(
    tmp_path: Path, options: list[object], line: str
) -> None:
    args = ["--port", 0, "--workers", 2, "--timeout-drain", 0.2, *options]
    with running(tmp_path, "serve", *args) as server:
        address = server.address()
        old = pids(server, 2)
        while not said(server, line, 2)():
            with opened(address) as client:
                for _ in range(5):
                    client.sendall(b"\x81\x82\0\0\0\0hi")
                    if client.recv(4) != b"\x81\x02hi":
                        break  # the worker leaves
            assert get(address)[0] == 200
        for pid in old[:1]:
            wait_gone(pid)
        assert server.process.poll() is None
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()
    assert "has not left in time" not in server.stderr()


def test_a_worker_that_eats_memory_is_ended_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import fastws, os\n"
        "held = []\n"
        "def eat(request):\n"
        "    open(f'pid{os.getpid()}', 'w').close()\n"
        "    held.append(b'x' * 300_000_000)\n"
        "    return fastws.Response(200, str(os.getpid()))\n"
        "def name(request):\n"
        "    return fastws.Response(200, str(os.getpid()))\n"
        "routes = [fastws.Route('/eat', http=eat), fastws.Route('/', http=name)]\n"
    )
    args = ["app:routes", "--port", 0, "--workers", 2, "--worker-max-rss", 200_000_000]
    with running(tmp_path, "serve", *args) as server:
        address = server.address()
        first = set(pids(server, 2))
        with contextlib.suppress(http.client.HTTPException, OSError):
            get(address, "/eat")  # it may be ended before it has answered
        (eater,) = (int(path.name.removeprefix("pid")) for path in tmp_path.glob("pid*"))
        assert eater in first
        until(said(server, "is ready", 3))
        wait_gone(eater)
        assert "--worker-max-rss is 200 MB: it is ended" in server.stderr()
        assert {int(get(address, "/")[2]) for _ in range(20)} <= {*pids(server, 3)} - {eater}
        assert server.stop() == 0


def test_memory_that_an_application_needs_to_start_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import time\nheld = b'x' * 300_000_000\ntime.sleep(600)\n")
    args = ["app:routes", "--port", 0, "--workers", 2, "--worker-max-rss", 200_000_000]
    result = fastws("serve", *args, cwd=tmp_path)
    assert result.returncode == 3
    assert "--worker-max-rss is 200 MB" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("environment", "workers"),
    [
        ({"WEB_CONCURRENCY": "2"}, 2),
        ({"FASTWS_WORKERS": "2", "WEB_CONCURRENCY": "3"}, 2),
        ({"WEB_CONCURRENCY": "1"}, 1),
        ({"WEB_CONCURRENCY": "auto"}, len(os.sched_getaffinity(0))),
    ],
)
def test_the_environment_says_how_many(tmp_path: Path, environment: dict[str, str], workers: int) -> None:
    with running(tmp_path, "serve", "--port", 0, **environment) as server:
        assert get(server.address())[0] == 200
        assert server.stderr().count("is ready") == (workers if workers > 1 else 0)
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_hangs_at_import_ends_with_the_server(tmp_path: Path, number: int) -> None:
    (tmp_path / "app.py").write_text(
        "import os, time\nopen(f'pid{os.getpid()}', 'w').close()\nwhile True:\n    time.sleep(600)\n"
    )
    with running(tmp_path, "serve", "app:routes", "--port", 0, "--workers", 2) as server:
        until(lambda: len(list(tmp_path.glob("pid*"))) == 2)
        assert server.stop(number) == 0
    for path in tmp_path.glob("pid*"):
        assert gone(int(path.name.removeprefix("pid")))
    assert "Traceback" not in server.stderr()


def test_a_worker_that_hangs_is_ended_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os, time\nimport fastws\n"
        "def hang(request):\n    open(f'pid{os.getpid()}', 'w').close()\n    time.sleep(600)\n"
        "routes = [fastws.Route('/hang', http=hang)]\n"
    )
    args = ["app:routes", "--port", 0, "--workers", 2, "--timeout-worker", 2]
    with running(tmp_path, "serve", *args) as server:
        host, port = server.address().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as client:
            client.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: list(tmp_path.glob("pid*")))
            (hung,) = (int(path.name.removeprefix("pid")) for path in tmp_path.glob("pid*"))
            until(said(server, f"(pid {hung}) has given no sign of life for 2 s: it is ended"))
            until(said(server, "is ready", 3))
            wait_gone(hung)
        assert get(server.address(), "/")[0] == 404
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()


def test_a_task_that_fails_ends_its_worker_and_not_the_server(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio, pathlib\nimport fastws\n"
        "async def echo(ws):\n    async for message in ws:\n        await ws.send(message)\n"
        "app = fastws.Application([fastws.Route('/echo', echo)])\n"
        "@app.background\n"
        "async def work(server):\n"
        "    while not pathlib.Path('fail').exists():\n        await asyncio.sleep(0.01)\n"
        "    pathlib.Path('fail').unlink()\n"
        "    raise ValueError('it is broken')\n"
    )
    with running(tmp_path, "serve", "app:app", "--port", 0, "--workers", 2) as server:
        address = server.address()
        first = pids(server, 2)
        (tmp_path / "fail").touch()
        until(said(server, "ended with status 3; a new one starts"))
        until(said(server, "is ready", 3))
        assert sum(gone(pid) for pid in first) == 1
        assert "ValueError: it is broken" in server.stderr()
        with opened(address) as client:
            client.sendall(b"\x81\x82\0\0\0\0hi")
            assert text_frame(client) == b"hi"
        assert server.stop() == 0


def write(folder: Path, text: str) -> None:
    (folder / "app.py").write_text(text)


def test_a_reload_of_what_does_not_start_keeps_the_old_workers(tmp_path: Path) -> None:
    write(tmp_path, PAGE.format("one"))
    args = ["app:routes", "--port", 0, "--workers", 2, "--timeout-drain", 0]

    def reload(server: Child, broken: str, line: str) -> None:
        write(tmp_path, broken)
        server.process.send_signal(signal.SIGHUP)
        until(said(server, line))
        assert {get(address, "/")[2] for _ in range(10)} == {b"one"}

    with running(tmp_path, "serve", *args, PYTHONDONTWRITEBYTECODE="1") as server:
        address = server.address()
        old = pids(server, 2)
        stay = "the new worker cannot start, so the 2 that serve stay: "
        reload(server, "def (:\n", f"{stay}cannot import app")
        reload(server, "import nothing_of_that_name\n", "nothing_of_that_name")
        reload(server, "routes = 5\n", f"{stay}app:routes ")
        reload(server, "raise SystemExit(7)\n", "SystemExit: 7")
        # One that hangs is given up by the next reload.
        hang = "import os, time\nopen(f'pid{os.getpid()}', 'w').close()\ntime.sleep(600)\n"
        write(tmp_path, hang)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: list(tmp_path.glob("pid*")))
        (hung,) = (int(path.name.removeprefix("pid")) for path in tmp_path.glob("pid*"))
        assert get(address, "/")[2] == b"one"
        write(tmp_path, PAGE.format("two"))
        server.process.send_signal(signal.SIGHUP)
        for pid in (hung, *old):
            wait_gone(pid)
        until(said(server, "reload: done"))
        assert {get(address, "/")[2] for _ in range(10)} == {b"two"}
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()
