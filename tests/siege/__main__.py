"""``python -m tests.siege --minutes 30``: all classes of attack at once, beside 100 normal clients."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cli.helpers import environment
from tests.faults.harness import MIB, Herd, Record, Site, eventually, herd, result_of, server
from tests.faults.report import markdown, write_page
from tests.kit.process import cpu_seconds

REPORTS = Path(__file__).parents[2] / "reports" / "siege"
#: Seconds of quiet after the attacks, until memory and files must be what they were.
CALM = 25.0


def main(args: list[str] | None = None) -> int:
    """Exit code: 0 every bound held, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.siege", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--attackers", type=int, default=20, help="at the same time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--engine", choices=["c", "wsproto"], default="c")
    parser.add_argument("--tls", action="store_true", help="everybody over TLS")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md too")
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="DIR")
    options = parser.parse_args(args)
    record = Record(full=True)
    began, started = datetime.now(UTC), time.monotonic()
    besiege(record, options)
    over = "wss" if options.tls else "ws"
    result = result_of(f"siege, {over}, seed {options.seed}", main.__doc__ or "", record, began, started)
    print("\n" + markdown([result]))
    options.reports.mkdir(parents=True, exist_ok=True)
    name = f"{over}-{options.loop}-{options.engine}-{options.seed}"
    (options.reports / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (options.reports / f"{name}.md").write_text(markdown([result]))
    if options.write:
        write_page(f"siege-{over}", markdown([result]))
    return 0 if record.held else 1


def besiege(record: Record, options: argparse.Namespace) -> None:
    seconds = options.minutes * 60
    arguments = ("--loop", options.loop, "--no-access-log", "--log-level", "critical")
    env = {"FASTWS_ENGINE": options.engine}
    with ExitStack() as stack:
        site = stack.enter_context(server(*arguments, tls=options.tls, env=env))
        echo = stack.enter_context(herd(site, 50, kind="echo", interval=0.5))
        hear = stack.enter_context(herd(site, 50, path="/broadcast"))
        hear.tell("publish")
        # One short round of everything, so that what is made once is not taken for a leak.
        Force(site, options.attackers, min(20, seconds / 3), options.seed).wait()
        _calm(site)
        echo.stats()
        hear.stats()
        files, memory, cpu = site.files(), site.rss(), cpu_seconds(site.pid)
        watch = Watch(site, echo, hear)
        made = watch.during(Force(site, options.attackers, seconds, options.seed))
        used = cpu_seconds(site.pid) - cpu
        back = eventually(lambda: site.files() <= files, CALM)
        _calm(site)
        watch.look()
        _judge(record, watch, site, memory, timed=options.engine == "c")
        record.at_most("files more, after the attackers have gone", site.files() - files, 0)
        record.note(
            f"{sum(made.values()):,} attacks in {seconds / 60:g} min, {options.attackers} at once, of "
            f"{len(made)} classes; engine {options.engine}, {options.loop}; server's CPU "
            f"{used / seconds:.0%} of a core; resident at most {watch.most / MIB:.0f} MiB; files "
            f"as before after {back:.1f} s"
        )
        record.note(", ".join(f"{name} {count:,}" for name, count in sorted(made.items())))


class Force:
    """The attackers. Their session is their own, so that the kernel gives no more to them than to one."""

    def __init__(self, site: Site, count: int, seconds: float, seed: int) -> None:
        args = map(str, ("wss" if site.ca else "ws", site.port, count, seconds, seed))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.siege.force", *args],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment(),
        )

    def done(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> dict[str, int]:
        """What they did: how often each attack was made."""
        out, _ = self._process.communicate()
        assert self._process.returncode == 0, "the attackers failed"
        made: dict[str, int] = json.loads(out)
        return made


class Watch:
    """Looks at the normal clients twice a minute, and at the server."""

    def __init__(self, site: Site, echo: Herd, hear: Herd) -> None:
        self.site, self.echo, self.hear = site, echo, hear
        self.reports: list[dict[str, Any]] = []
        self.most = 0

    def during(self, force: Force) -> dict[str, int]:
        """Look on until the attackers have done; return what they did."""
        ticks = 0
        while not force.done():
            time.sleep(1)
            ticks += 1
            self.most = max(self.most, self.site.rss())
            if ticks % 30 == 0:
                self.look()
                worst = {name: self.reports[-1][name]["delays"] for name in ("echo", "hear")}
                print(f"  {ticks} s: {worst}, resident {self.most / MIB:.0f} MiB at most", flush=True)
        self.look()
        return force.wait()

    def look(self) -> None:
        self.reports.append({"echo": self.echo.stats(), "hear": self.hear.stats()})

    def sum(self, who: str, what: str) -> int:
        return int(sum(report[who][what] for report in self.reports))

    def quantile(self, who: str, name: str) -> float:
        """The worst of the half minutes: stricter than the quantile of the whole time."""
        return float(max(report[who]["delays"].get(name, 0.0) for report in self.reports))


def _judge(record: Record, watch: Watch, site: Site, memory: int, *, timed: bool) -> None:
    """Check the bounds; those of time (``timed``) are for the C engine, the others for both."""
    for who, what in (("echo", "50 that echo"), ("hear", "50 that hear a broadcast")):
        record.equal(f"{what}: lost", watch.reports[-1][who]["ended"], 0)
        record.equal(f"{what}: wrong or out of order", watch.sum(who, "disorder"), 0)
        if timed:
            record.at_most(f"{what}: p99 of the worst half minute", watch.quantile(who, "p99"), 100, "ms")
        record.note(
            f"{what}: {watch.sum(who, 'messages'):,} messages, p50 {watch.quantile(who, 'p50')} ms, "
            f"p99 {watch.quantile(who, 'p99')} ms and at most {watch.quantile(who, 'max')} ms "
            "in the worst half minute"
        )
    published = watch.reports[-1]["hear"]["published"]
    record.at_least("messages published in that time", published, 1)
    record.equal("process alive, and the same", site.alive(), wanted=True)
    record.equal("tracebacks in the log", site.stderr().count("Traceback"), 0)
    record.at_most("resident, grown, after the attackers have gone", (site.rss() - memory) / MIB, 5, "MiB")


def _calm(site: Site) -> None:
    """Wait for what the attackers left to run into its limits, and for the memory to be given back."""
    time.sleep(CALM)
    assert site.alive()


if __name__ == "__main__":
    sys.exit(main())
