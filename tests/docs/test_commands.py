"""The command lines of the pages as they stand, in an environment that README's first command has made.

Each line of a block of the kind ``checked`` is in one of the tables here, and every page with ``shell``
blocks is run once more as it is written. All that is run is run in a copy of the sources with its own
``.venv``, in a network and a ``/run`` of its own, so that ports and paths are those of the page.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.helpers import environment
from tests.docs.clone import ALONE, FIRST, add_packages, plain
from tests.docs.pages import PAGES, ROOT, blocks_of, name_of

#: Commands that serve until Ctrl-C.
SERVERS = [
    "fastws serve",
    "fastws serve chat.app:handler --port 9000",
    "fastws serve main:app",
    "fastws serve --static ./site",
    "fastws serve chat.app:routes --static /files=./site",
    "fastws serve --static ./site --bind 0.0.0.0:80 --bind unix:/run/fastws.sock",
    "fastws serve --port 8443 --ssl-certfile certs/server.pem --ssl-keyfile certs/server-key.pem",
    "fastws serve chat.app:routes --host 127.0.0.1 --port 8080",
    "fastws serve chat.app:routes --uds /run/fastws/fastws.sock",
    "fastws serve chat.app:routes --allowed-host localhost --allowed-host 127.0.0.1",
    "fastws serve chat.app:routes --limit-concurrency 20000 --limit-connections-per-address 50"
    " --limit-handshakes-per-address 10 --limit-messages-per-second 20 --limit-bytes-per-second 65536",
    "fastws serve chat.app:routes --workers auto",
    "fastws serve --port 443 --host 0.0.0.0 --ssl-certfile chat.example.org.pem "
    "--ssl-keyfile chat.example.org-key.pem --ssl-certfile wildcard.example.net.pem "
    "--ssl-keyfile wildcard.example.net-key.pem",
]
#: Commands that talk to the built-in application, and the exit codes that a slow machine may have.
CLIENTS = {
    ".venv/bin/fastws bench ws://127.0.0.1:8080/broadcast room": {0},
    "fastws connect ws://127.0.0.1:8080/echo": {0},
    "fastws bench ws://127.0.0.1:8080/wsecho echo": {0},
    "fastws bench ws://127.0.0.1:8080/broadcast fanout --clients 1000": {0},
    "fastws bench ws://127.0.0.1:8080/wsecho echo --clients 200": {0},
    "fastws bench ws://127.0.0.1:8080/broadcast room --clients 50": {0},
    "fastws bench ws://127.0.0.1:8080/wsecho echo --rate 20000 --require 'p99<50ms' --require reach=1": {
        0,
        1,
    },
    "fastws bench ws://127.0.0.1:8080/wsecho ws://127.0.0.1:8080/echo echo --ramp 1s --duration 2s": {0},
    "fastws bench ws://127.0.0.1:8080/wsecho --script talk.jsonl --clients 50 --ramp 1s --duration 3s"
    " --require 'p99<1s'": {0, 1},
}
#: Commands that talk to the feed of their page.
OF_A_FEED = [
    "fastws bench ws://127.0.0.1:8081/feed feed --clients 100 --duration 3s",
    "fastws bench ws://127.0.0.1:8081/feed resume --clients 500 --spread 2s",
    "fastws bench ws://127.0.0.1:8081/feed keyed --topic table --clients 100 --stalled 20 --rate 1000"
    " --duration 3s",
]
#: Commands that end by themselves, in this order.
PLAIN = [
    ".venv/bin/fastws --version",
    "fastws cert",
    "fastws cert chat.test 192.168.1.20",
    'python -c "import fastws.protocol.websocket.frames as f; print(f.ENGINE)"',
]
ACTIVATE = ". .venv/bin/activate"
INTERVAL = "fastws connect ws://127.0.0.1:8080/wsecho --interval 1"
PYTEST = "pip install pytest pytest-asyncio"
#: What a page needs besides the first command, installed before it is run.
INSTALLED = {"pip install websockets", "pip install fastapi"}
EXTRAS = ".venv/bin/pip install '.[socks,plots]'"
SERVICE = ["python3 -m venv /opt/chat", "/opt/chat/bin/pip install .", "cp -r chat /opt/chat"]
#: Commands that have a test of their own, or are run by the fixture: the first one, and its parts.
OF_THEIR_OWN = {
    FIRST,
    "python3 -m venv .venv",
    ".venv/bin/pip install .",
    ACTIVATE,
    INTERVAL,
    PYTEST,
    EXTRAS,
    *SERVICE,
    *INSTALLED,
    *OF_A_FEED,
}
SUITE = "the suite itself, which .ci/run runs, or a part of it"
BENCHMARKS = "minutes to hours, on an idle machine, with the extra packages of the suite"
ELSEWHERE = "another machine, or one to be set up"
EDITOR = "npm, which .ci/run runs; and an extra that the tests' own environment has"
RELEASED = "the package of a release; the tests' own environment has what the extra names"
READERS = "a file of the reader's"
BEHIND = "the certificate of a host; test_proxies.py runs it with another one"
DOCKER = "no engine of containers is there; test_containers.py runs the instructions of the Dockerfile"
OPERATED = "a folder in /run of the service; tests/observe/test_workers.py runs them"
#: Pages whose commands and blocks need extras, and packages of others.
NEEDED = {
    "authentication.md": (["jwt"], ["django", "fastapi", "itsdangerous", "requests"]),
    "metrics.md": (["metrics"], []),
    "operations.md": (["metrics"], []),
}
#: Commands that are only checked (commands.py: each option and file exists), and why.
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest": SUITE,
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'": SUITE,
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
    "npm ci --prefix static-build && npm run build --prefix static-build && .venv/bin/pip install '.[yjs]'": (
        EDITOR
    ),
    "pip install '.[yjs]'": EDITOR,
    "pip install 'fastws-server[redis]'": RELEASED,
    "pip install 'fastws-server[jwt]'": RELEASED,
    "pytest test_my_broker.py": READERS,
    "fastws serve app:routes --workers auto --broker redis://redis.internal:6379": ELSEWHERE,
    "fastws serve chat.app:routes --port 8443 --proxy-protocol --no-proxy-headers "
    "--ssl-certfile /etc/letsencrypt/live/chat.example.org/fullchain.pem "
    "--ssl-keyfile /etc/letsencrypt/live/chat.example.org/privkey.pem": BEHIND,
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
    "fastws serve chat.app:routes --workers auto --metrics 9090 --control /run/chat/control "
    "--pid /run/chat/pid": OPERATED,
    "fastws top /run/chat/control": OPERATED,
    "fastws top /run/chat/control --sort age --match /room/ --limit 50": OPERATED,
    "fastws top /run/chat/control --once --json": OPERATED,
    "fastws top http://10.0.0.5:9090": ELSEWHERE,
    "fastws ctl reload --control /run/chat/control": OPERATED,
    "fastws ctl log-level debug --control /run/chat/control": OPERATED,
    "fastws ctl close 2-17-9f3a1 --control /run/chat/control": OPERATED,
    "fastws ctl drain --control /run/chat/control": OPERATED,
    "docker build -t chat .": DOCKER,
    "docker run --init --rm -p 8080:8080 --ulimit nofile=65536:65536 chat": DOCKER,
    "docker stop -t 15 chat": DOCKER,
}


def lines_of(script: str) -> list[str]:
    """The commands of a block, without comments and in one line each."""
    lines = [re.sub(r"\s+# .*", "", line) for line in script.replace("\\\n", " ").splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip()]


def commands_of(page: Path) -> list[str]:
    """The commands that are only checked where the page is run in each run of the tests."""
    if "```" not in page.read_text(encoding="utf-8"):
        return []
    return [line for block in blocks_of(page) if block.kind == "checked" for line in lines_of(block.code)]


CHECKED = {line for page in PAGES for line in commands_of(page)}


def test_each_command_is_run_or_says_why_not() -> None:
    tables = [set(SERVERS), set(CLIENTS), set(PLAIN), OF_THEIR_OWN, set(NOT_RUN)]
    assert sum(map(len, tables)) == len(set().union(*tables)), "a command is in two tables"
    assert set().union(*tables) == CHECKED


# -- as they stand --------------------------------------------------------------------------------


@contextlib.contextmanager
def started(folder: Path, command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A server that has printed where it serves. At the end it gets a Ctrl-C, and must print no traceback."""
    log = folder / "server.log"
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(
            command,
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


def alone(command: str) -> list[str]:
    return [*ALONE, "sh", "-c", f"exec {command}"]


def beside(server: subprocess.Popen[str], command: str) -> list[str]:
    """The command in the network of the server."""
    inside = ["nsenter", "-t", str(server.pid), "-U", "-n", "--preserve-credentials"]
    return [*inside, "sh", "-c", f"exec {command}"]


def complete(
    command: Sequence[str], folder: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with the ``.venv`` of ``folder`` activated unless ``env`` says otherwise."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=plain(folder) if env is None else env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert "Traceback" not in done.stdout, done.stdout
    return done


def well(command: str, folder: Path, env: dict[str, str] | None = None) -> str:
    """Run a command line that has to end with 0; return what it has printed."""
    done = complete(["sh", "-ec", command], folder, env)
    assert done.returncode == 0, done.stdout
    return done.stdout


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows."""
    for block in blocks_of(page):
        if block.kind == "file":
            (folder / block.arguments[0]).write_text(block.code, encoding="utf-8")


def make_certificates(folder: Path) -> None:
    """The files of the commands with TLS: of ``fastws cert``, and two that an authority would have made."""
    if (folder / "certs" / "server.pem").exists() and (folder / "chat.example.org.pem").exists():
        return
    for file, name in (("chat.example.org", "chat.example.org"), ("wildcard.example.net", "*.example.net")):
        well(f"fastws cert '{name}'", folder)
        shutil.copy(folder / "certs" / "server.pem", folder / f"{file}.pem")
        shutil.copy(folder / "certs" / "server-key.pem", folder / f"{file}-key.pem")
    well("fastws cert", folder)


LOAD_GENERATOR = ROOT / "docs" / "load-generator.md"
WITH_SHELL = [
    page
    for page in PAGES
    if "```" in page.read_text(encoding="utf-8") and any(block.kind == "shell" for block in blocks_of(page))
]


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(600)
class TestAsTheyStand:
    @pytest.mark.parametrize("command", PLAIN)
    def test_it_ends_well(self, clone: Path, command: str) -> None:
        assert well(command, clone).strip()

    def test_the_environment_can_be_activated(self, clone: Path) -> None:
        said = well(f"{ACTIVATE}; command -v fastws; fastws --version", clone, plain())
        assert said.startswith(f"{clone}/.venv/bin/fastws\nfastws "), said
        assert "hot path compiled" in said

    @pytest.mark.parametrize("command", SERVERS)
    def test_it_serves_until_ctrl_c(self, clone: Path, command: str) -> None:
        if "--ssl-certfile" in command:
            make_certificates(clone)
        with started(clone, alone(command)):
            pass

    def test_it_talks_to_the_server_of_the_first_command(self, clone: Path) -> None:
        write_files(LOAD_GENERATOR, clone)
        with started(clone, alone(FIRST.rpartition(" && ")[2])) as (server, _):
            for command, codes in CLIENTS.items():
                done = complete(beside(server, command), clone)
                assert done.returncode in codes, f"{command}: {done.stdout}"

    def test_it_talks_to_the_feed_of_its_page(self, clone: Path) -> None:
        (serve,) = [block for block in blocks_of(LOAD_GENERATOR) if block.arguments == ("server",)]
        write_files(LOAD_GENERATOR, clone)
        with started(clone, alone(serve.code.strip())) as (server, _):
            for command in OF_A_FEED:
                done = complete(beside(server, command), clone)
                assert done.returncode == 0, f"{command}: {done.stdout}"

    def test_it_repeats_until_ctrl_c(self, clone: Path) -> None:
        with started(clone, alone("fastws serve")) as (server, _):
            client = subprocess.Popen(
                beside(server, INTERVAL),
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

    @pytest.mark.parametrize("page", WITH_SHELL, ids=name_of)
    def test_the_page_as_it_is_written(self, clone: Path, page: Path, tmp_path: Path) -> None:
        for line in [line for line in commands_of(page) if line in INSTALLED]:
            well(line, clone)
        add_packages(clone, *NEEDED.get(page.name, ([], [])))
        reader = [sys.executable, "-m", "tests.docs.as_written", str(page), str(tmp_path), str(clone)]
        done = subprocess.run([*ALONE, *reader], cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_service_of_systemd_has_its_own_environment(self, clone: Path) -> None:
        page = ROOT / "docs" / "deploy.md"
        unit = next(block.code for block in blocks_of(page) if block.kind == "systemd")
        (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        script = "\n".join(
            [
                "mount -t tmpfs opt /opt",
                *SERVICE,
                f"exec unshare -n sh -ec 'ip link set lo up; exec {command}'",
            ]
        )
        with started(clone, ["unshare", "-rm", "sh", "-ec", script]) as (_, log):
            assert "Serving on http://127.0.0.1:8080" in log.read_text(encoding="utf-8")

    def test_the_tests_of_the_page_about_testing(self, clone: Path, tmp_path: Path) -> None:
        well(PYTEST, clone)
        count = 0
        for number, block in enumerate(blocks_of(ROOT / "docs" / "testing.md")):
            if block.language == "ini":
                (tmp_path / "pytest.ini").write_text(block.code, encoding="utf-8")
            elif block.language == "python":
                (tmp_path / f"test_{number}.py").write_text(block.code, encoding="utf-8")
                count += len(re.findall(r"^(?:async )?def test_", block.code, re.MULTILINE))
        assert f"{count} passed" in well("pytest", tmp_path, plain(clone))

    def test_the_extras_can_be_added(self, clone: Path) -> None:
        well(EXTRAS, clone)
        assert "Usage" in well("python -m bench --help; python -c 'import python_socks'", clone)
