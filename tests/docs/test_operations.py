"""docs/operations.md and docs/metrics.md: the manifest, the dashboard, the table of metrics."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastws.meters.meters import Meters, begin_measuring, end_measuring
from fastws.observe import metrics
from tests.docs.commands import check_commands
from tests.docs.pages import ROOT
from tests.kit import ManualLoop, Recorder
from tests.kit.served import served

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "fastws-dashboard.json").read_text(encoding="utf-8"))
NAME = re.compile(r"\b((?:fastws|process)_[a-z_]+)\b")


@pytest.fixture
def names(loop: ManualLoop) -> set[str]:
    """The names of all samples that a server can have."""
    server = served(loop, Recorder())
    found = metrics(server)
    meters: Meters = begin_measuring()
    server.own_counters.peer_closed(1000)
    meters.answered(404, upgrade=True)
    meters.recovered("resumed")
    meters.topic_counters("rooms/*")
    meters.set(1, "broker_up", "redis")
    end_measuring()
    return {sample.name for family in found.collect() for sample in family.samples}


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_each_panel_names_only_metrics_that_exist(names: set[str]) -> None:
    assert len(expressions()) > 20
    for expression in expressions():
        used = set(NAME.findall(expression))
        assert used and used <= names, expression
    (query,) = [each for each in DASHBOARD["templating"]["list"] if each["name"] == "job"]
    assert set(NAME.findall(query["definition"])) <= names


def test_the_dashboard_is_one() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} == {"row", "timeseries"}
    assert DASHBOARD["schemaVersion"] >= 36 and DASHBOARD["uid"] == "fastws"
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len(set(places)) == len(places)
    for panel in panels:
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = re.search(r"sum by \(([\w, ]+)\)", target["expr"])
            assert labels <= set(grouped[1].split(", ")) if grouped else not labels


def test_each_expression_is_one_for_prometheus(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    rules = [
        {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "1m").replace("$job", "chat")}
        for number, text in enumerate(expressions())
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_table_has_each_metric(names: set[str]) -> None:
    listed = set(NAME.findall(METRICS)) | set(NAME.findall(OPERATIONS))
    bare = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names if not name.startswith("process")}
    assert sorted(bare - listed) == []
    assert {name for name in listed if name.startswith("fastws_")} - bare == set()


def test_the_probes_of_the_manifest_ask_the_listener_of_its_command() -> None:
    yaml = pytest.importorskip("yaml")
    (block,) = re.findall(r"```yaml\n(.*?)```", OPERATIONS, re.DOTALL)
    template = yaml.safe_load(block)["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    _, *arguments = container["command"]
    check_commands(shlex.join(["fastws", *arguments]))
    port = int(arguments[arguments.index("--metrics") + 1].rpartition(":")[2])
    graceful = float(arguments[arguments.index("--timeout-graceful-shutdown") + 1])
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep" and float(seconds) + graceful < pod["terminationGracePeriodSeconds"]
    probes = [container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert [probe["path"] for probe in probes] == ["/readyz", "/readyz", "/livez"]
    assert {probe["port"] for probe in probes} == {port}
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert {each["containerPort"] for each in container["ports"]} == {8080, port}
