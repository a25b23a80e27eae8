"""docs/containers.md and docs/metrics.md: what can be run of the files for Docker and its kin."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import running
from tests.docs.clone import plain
from tests.docs.commands import check_commands
from tests.docs.dockerfile import copy_context, image_command, inside, instructions_of, reason_not_to
from tests.docs.pages import ROOT, Block, blocks_of
from tests.docs.story import PORT, wait_for

PAGES = [ROOT / "docs" / "containers.md", ROOT / "docs" / "metrics.md"]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
DOCKERFILE = next(block.code for block in BLOCKS if block.language == "dockerfile")
DEPLOYMENT, SCRAPE = [block.code for block in BLOCKS if block.language == "yaml"]


INSTRUCTIONS = instructions_of(DOCKERFILE)


def command_of(name: str) -> list[str]:
    (text,) = [rest for instruction, rest in INSTRUCTIONS if instruction == name]
    found: list[str] = json.loads(text[text.index("[") :])
    return found


def block_named(name: str) -> Block:
    return next(block for block in BLOCKS if block.arguments == (name,))


def test_the_image_is_made_of_what_is_there() -> None:
    known = {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}
    assert {name for name, _ in INSTRUCTIONS} == known
    for name, rest in INSTRUCTIONS:
        if name == "RUN":
            check_commands(rest.replace("/opt/app/bin/pip", "pip").replace("apt-get", "apt"))
    check_commands(shlex.join(["fastws", *command_of("CMD")[1:]]))
    # The environment is that of the shell block above it.
    (environment,) = [rest for name, rest in INSTRUCTIONS if name == "ENV"]
    assert any(block.kind == "shell" and environment in block.code for block in BLOCKS)


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.live
@pytest.mark.timeout(600)
def test_the_dockerfile_makes_what_serves(clone: Path, tmp_path: Path) -> None:
    """Each instruction is run; only what the first command has compiled is not compiled once more."""
    stages, context, log = tmp_path / "stages", tmp_path / "context", tmp_path / "log"
    stages.mkdir()
    if reason := reason_not_to(stages):
        pytest.skip(reason)
    copy_context(clone, context, keep="build")
    (context / "app").mkdir()
    (context / "app" / "app.py").write_text(block_named("app.py").code, encoding="utf-8")
    with log.open("w", encoding="utf-8") as out:
        command = image_command(INSTRUCTIONS, context, stages)
        server = subprocess.Popen(command, env=plain(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        wait_for(lambda: "Serving on" in log.read_text(encoding="utf-8") or server.poll() is not None, 250)
        assert server.poll() is None, log.read_text(encoding="utf-8")
        check = subprocess.run(inside(server.pid, command_of("HEALTHCHECK")), capture_output=True, text=True)
        assert check.returncode == 0, check.stderr
        (stop,) = [rest for name, rest in INSTRUCTIONS if name == "STOPSIGNAL"]
        server.send_signal(signal.Signals[stop])
        assert server.wait(20) == 0, log.read_text(encoding="utf-8")
    finally:
        server.kill()
        server.wait()
    said = log.read_text(encoding="utf-8")
    assert "Serving on http://127.0.0.1:8080 (on every IPv4 address)" in said and "hot path compiled" in said
    assert "Traceback" not in said


@pytest.mark.live
def test_the_health_check_and_the_command(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(block_named("app.py").code, encoding="utf-8")
    _, *arguments = command_of("CMD")
    _, *check = command_of("HEALTHCHECK")
    with running(tmp_path, *arguments, "--port", "0") as server:
        port = server.address().rpartition(":")[2].strip("/")
        check = [PORT.sub(port, word) for word in check]
        assert subprocess.run([sys.executable, *check], timeout=20).returncode == 0
        server.stop()
    assert subprocess.run([sys.executable, *check], timeout=20, stderr=subprocess.DEVNULL).returncode == 1


def test_the_pod_has_more_time_than_its_end_takes() -> None:
    yaml = pytest.importorskip("yaml")
    pod: dict[str, Any] = yaml.safe_load(DEPLOYMENT)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    _, *arguments = container["command"]
    check_commands(shlex.join(["fastws", *arguments]))
    graceful = float(arguments[arguments.index("--timeout-graceful-shutdown") + 1])
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program.endswith("/sleep")
    assert float(seconds) + graceful < pod["terminationGracePeriodSeconds"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert f'"{container[probe]["httpGet"]["path"]}"' in block_named("app.py").code


def test_the_scrape_asks_the_port_of_the_page() -> None:
    yaml = pytest.importorskip("yaml")
    ((job,),) = yaml.safe_load(SCRAPE).values()
    (target,) = job["static_configs"][0]["targets"]
    assert target == "127.0.0.1:9090"
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    # Prometheus asks for /metrics by itself.
    assert "--metrics 9090" in page and f'urlopen("http://{target}/metrics")' in page
