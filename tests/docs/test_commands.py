"""The command lines of the pages that no other test runs, as they stand, after README's first command.

Each line of a block of the kind ``checked`` is in one of the tables here. What is run is run in a copy of
the sources with its own ``.venv``, in a network and a ``/run`` of its own, so that the ports and the paths
are those of the page.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.helpers import environment
from tests.docs.pages import PAGES, ROOT, blocks_of

FIRST = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/fastws serve"

#: Commands that serve until Ctrl-C.
SERVERS = [
    "fastws serve",
    "fastws serve chat.app:handler --port 9000",
    "fastws serve main:app",
    "fastws serve --static ./site --bind 0.0.0.0:80 --bind unix:/run/fastws.sock",
    "fastws serve --port 8443 --ssl-certfile certs/server.pem --ssl-keyfile certs/server-key.pem",
    "fastws serve chat.app:routes --host 127.0.0.1 --port 8080",
    "fastws serve chat.app:routes --uds /run/fastws/fastws.sock",
    "fastws serve chat.app:routes --allowed-host localhost --allowed-host 127.0.0.1",
    "fastws serve chat.app:routes --limit-concurrency 20000 --limit-connections-per-address 50"
    " --limit-handshakes-per-address 10 --limit-messages-per-second 20 --limit-bytes-per-second 65536",
    "fastws serve chat.app:routes --workers auto",
]
#: Commands that talk to the built-in application, and the exit codes that a slow machine may have.
CLIENTS = {
    ".venv/bin/fastws bench ws://127.0.0.1:8080/broadcast room": {0},
    "fastws connect ws://127.0.0.1:8080/echo": {0},
    "fastws bench ws://127.0.0.1:8080/wsecho echo": {0},
    "fastws bench ws://127.0.0.1:8080/broadcast fanout --clients 1000": {0},
    "fastws bench ws://127.0.0.1:8080/wsecho echo --clients 200": {0},
    "fastws bench ws://127.0.0.1:8080/broadcast room --clients 50": {0},
    "fastws bench ws://127.0.0.1:8080/wsecho echo --rate 20000 --require p99=50ms --require reach=1": {0, 1},
}
#: Commands that end by themselves, in this order.
PLAIN = [
    ".venv/bin/fastws --version",
    "fastws cert",
    "fastws cert chat.test 192.168.1.20",
    'python -c "import fastws.protocol.websocket.frames as f; print(f.ENGINE)"',
]
SUITE = "the suite itself, in this test or minutes long"
BENCHMARKS = "minutes to hours, on an idle machine, with the extra packages of the suite"
ELSEWHERE = "another machine, or one to be set up"
#: Commands that are only checked (commands.py: each option and file exists), and why.
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest": SUITE,
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'": SUITE,
    ". .venv/bin/activate": "changes the shell only",
    "pytest": SUITE,
    "pytest -m system": SUITE,
    "pytest tests/cli": SUITE,
    "pytest tests/cli/test_listeners.py -k busy": SUITE,
    'pytest -m "not browser and not slow"': SUITE,
    'FASTWS_COMPILED=0 pytest -m "not browser" --cov': SUITE,
    "pytest tests/hostile": SUITE,
    "tox": SUITE,
    "ruff format --check . && ruff check . && mypy": SUITE,
    "FASTWS_ENGINE=wsproto pytest": SUITE,
    "FASTWS_ENGINE=c pytest": SUITE,
    "pip install -e '.[plots,rivals]'": BENCHMARKS,
    "python -m bench prepare": BENCHMARKS,
    "python -m bench --quick": BENCHMARKS,
    "python -m bench --goals": BENCHMARKS,
    "python -m bench": BENCHMARKS,
    "python -m bench micro": BENCHMARKS,
    "python -m bench micro -k scan": BENCHMARKS,
    "python -m bench micro --save": BENCHMARKS,
    "python -m bench instructions": BENCHMARKS,
    "python -m bench instructions --save": BENCHMARKS,
    "fastws serve --port 443 --host 0.0.0.0 --ssl-certfile chat.example.org.pem "
    "--ssl-keyfile chat.example.org-key.pem --ssl-certfile wildcard.example.net.pem "
    "--ssl-keyfile wildcard.example.net-key.pem": "tests/workers/test_certificates.py does",
    "python3 -m venv /opt/chat": ELSEWHERE,
    "sudo systemctl enable --now chat": ELSEWHERE,
    "journalctl -u chat -f": ELSEWHERE,
    "fastws bench wss://chat.example.org/ws idle --clients 5000 --until errors=0 --step clients+5000": (
        ELSEWHERE
    ),
    "fastws bench wss://example.org/feed fanout --clients 5000 --rate 200 --processes 4 --html feed.html": (
        ELSEWHERE
    ),
    "fastws bench ws://127.0.0.1:8080/ws idle --clients 10000 --until errors=0 --step clients+5000": (
        "as many connections as the machine holds"
    ),
    "fastws bench ws://127.0.0.1:8080/wsecho idle --clients 2000 --speak-once --pid 12345": (
        "the number stands for that of the reader's server"
    ),
    "fastws connect ws://127.0.0.1:8080/wsecho --interval 1": "test_it_repeats_until_ctrl_c does",
    FIRST: "the fixture does",
    "python3 -m venv .venv": "a part of the first command",
    ".venv/bin/pip install .": "a part of the first command",
    ".venv/bin/pip install '.[socks,plots]'": "downloads a hundred megabytes; the extras are checked",
}

FILES = {
    "chat/__init__.py": "",
    "chat/app.py": "import fastws\n\n\nasync def handler(ws):\n    async for message in ws:\n"
    '        await ws.send(message)\n\n\nroutes = [fastws.Route("/", handler)]\n',
    "main.py": 'async def app(scope, receive, send):\n    assert scope["type"] == "lifespan"\n'
    "    while True:\n        message = await receive()\n"
    '        await send({"type": message["type"] + ".complete"})\n'
    '        if message["type"] == "lifespan.shutdown":\n            return\n',
    "site/index.html": "hello\n",
}
#: Begins a command with a network and a /run of its own, as one who may use each port there.
ALONE = [
    "unshare",
    "-rnm",
    "sh",
    "-ec",
    'ip link set lo up; mount -t tmpfs run /run; mkdir /run/fastws; exec "$@"',
    "sh",
]


def lines_of(script: str) -> list[str]:
    """The commands of a block, without comments and in one line each."""
    lines = [re.sub(r"\s+# .*", "", line) for line in script.replace("\\\n", " ").splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip()]


CHECKED = {
    line
    for page in PAGES
    if "```" in page.read_text(encoding="utf-8")
    for block in blocks_of(page)
    if block.kind == "checked"
    for line in lines_of(block.code)
}


def test_each_command_is_run_or_says_why_not() -> None:
    tables = [set(SERVERS), set(CLIENTS), set(PLAIN), set(NOT_RUN)]
    assert sum(map(len, tables)) == len(set().union(*tables)), "a command is in two tables"
    assert set().union(*tables) == CHECKED


# -- as they stand --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, without what was built from them, after README's first command up to the server."""
    possible = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    if possible.returncode != 0:
        pytest.skip(f"no network of our own here: {possible.stderr.strip()}")
    folder = tmp_path_factory.mktemp("clone")
    named = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, named.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    install = FIRST.removesuffix(" && .venv/bin/fastws serve")
    done = subprocess.run(["sh", "-c", install], cwd=folder, env=plain(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def plain(folder: Path | None = None) -> dict[str, str]:
    """A user's environment: with the folder's ``.venv`` activated, if there is a folder."""
    variables = environment()
    variables.pop("PYTHONPATH", None)
    if folder is not None:
        variables["PATH"] = os.pathsep.join([str(folder / ".venv" / "bin"), variables["PATH"]])
    return variables


@contextlib.contextmanager
def started(folder: Path, command: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A server that has printed where it serves. At the end it gets a Ctrl-C, and must print no traceback."""
    log = folder / "server.log"
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(
            [*ALONE, "sh", "-c", f"exec {command}"],
            cwd=folder,
            env=plain(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            text=True,
        )
    try:
        deadline = time.monotonic() + 60
        while "Serving on" not in log.read_text(encoding="utf-8"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield server, log
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0, log.read_text(encoding="utf-8")
        assert "Traceback" not in log.read_text(encoding="utf-8")
    finally:
        server.kill()
        server.wait()


def beside(server: subprocess.Popen[str], command: str) -> list[str]:
    """The command in the network of the server."""
    inside = ["nsenter", "-t", str(server.pid), "-U", "-n", "--preserve-credentials"]
    return [*inside, "sh", "-c", f"exec {command}"]


def complete(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env=plain(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(300)
class TestAsTheyStand:
    @pytest.mark.parametrize("command", PLAIN)
    def test_it_ends_well(self, clone: Path, command: str) -> None:
        done = complete(["sh", "-c", command], clone)
        assert done.returncode == 0, done.stdout
        assert done.stdout.strip()

    @pytest.mark.parametrize("command", SERVERS)
    def test_it_serves_until_ctrl_c(self, clone: Path, command: str) -> None:
        if "certs/" in command and not (clone / "certs" / "server.pem").exists():
            assert complete([".venv/bin/fastws", "cert"], clone).returncode == 0
        with started(clone, command):
            pass

    def test_it_talks_to_the_server_of_the_first_command(self, clone: Path) -> None:
        with started(clone, FIRST.rpartition(" && ")[2]) as (server, _):
            for command, codes in CLIENTS.items():
                done = complete(beside(server, command), clone)
                assert done.returncode in codes, f"{command}: {done.stdout}"

    def test_it_repeats_until_ctrl_c(self, clone: Path) -> None:
        command = "fastws connect ws://127.0.0.1:8080/wsecho --interval 1"
        with started(clone, "fastws serve") as (server, _):
            client = subprocess.Popen(
                beside(server, command),
                cwd=clone,
                env=plain(clone),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert client.stdout is not None
            said = client.stdout.readline()
            client.send_signal(signal.SIGINT)
            said += client.communicate(timeout=30)[0]
            assert client.returncode in (0, 130), said
            assert "Traceback" not in said
