"""Reports of several generators as one: what they counted is added up, and so are their histograms."""

from __future__ import annotations

import binascii
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastws.loadgen.errors import ErrorCount
from fastws.loadgen.histogram import decoded, merge, summary
from fastws.loadgen.plan import Plan, Scenario
from fastws.loadgen.result import FORMAT, Result, ServerUsage
from fastws.loadgen.validity import Load, saturation

__all__ = ["ReportError", "merge_reports"]

#: Figures of a report that add up.
SUMS = ("rate", "sent_rate", "received", "expected", "other", "opened", "failed", "lost")
#: What reports have to have in common.
COMMON = ("scenario", "size", "binary", "deflate", "script")


class ReportError(ValueError):
    """A report is none, or does not fit the others; the text says why, in one line."""


def merge_reports(reports: Sequence[tuple[str, Any]]) -> Result:
    """Return one result of several, which ran at the same time.

    Rates, messages and clients are added up, and latency is that of all. Its plan has the clients, processes
    and rates of all together. Curves over time are left out.

    Args:
        reports: What each is called in errors, and what ``fastws bench --json`` has written.

    Raises:
        ReportError: One is no report of a single run, or they measured different things.
    """
    plans = [_plan_of(name, report) for name, report in reports]
    for (name, _), plan in zip(reports, plans, strict=True):
        for common in COMMON:
            if getattr(plan, common) != getattr(plans[0], common):
                raise ReportError(f"{name} has another {common} than {reports[0][0]}")
    try:
        return _merged([report for _, report in reports], plans)
    except (KeyError, TypeError, ValueError, struct.error, zlib.error, binascii.Error) as error:
        raise ReportError(f"a report is damaged: {error}") from None


def _plan_of(name: str, report: Any) -> Plan:
    if not isinstance(report, dict) or report.get("format") != FORMAT or "histogram_ns" not in report:
        raise ReportError(f"{name} is no report of a single run, as --json writes it")
    try:
        return Plan.from_json(report["plan"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{name}: its plan is damaged: {error}") from None


def _merged(reports: list[dict[str, Any]], plans: list[Plan]) -> Result:
    sums: dict[str, Any] = {name: sum(report[name] for report in reports) for name in SUMS}
    histogram = merge(decoded(report["histogram_ns"]) for report in reports)
    rounds = [report["rounds_rate"] for report in reports if report["rounds_rate"] is not None]
    generators = [each for report in reports for each in report["generator"]]
    loads = [Load(each["wall"], each["cpu"], each["waited"]) for each in generators]
    errors: Counter[tuple[str, str]] = Counter()
    for report in reports:
        for error in report["errors"]:
            errors[error["kind"], error["text"]] += error["count"]
    servers = [report["server"] for report in reports if report["server"] is not None]
    rates = [plan.rate for plan in plans]
    plan = replace(
        plans[0],
        clients=sum(each.clients for each in plans),
        more_urls=tuple(dict.fromkeys(url for each in plans for url in each.urls if url != plans[0].url)),
        processes=1 if plans[0].scenario is Scenario.ROOM else sum(each.processes for each in plans),
        rate=None if None in rates else sum(rate for rate in rates if rate is not None),
    )
    return Result(
        plan=plan,
        date=min(report["date"] for report in reports),
        seconds=max(report["seconds"] for report in reports),
        unit=reports[0]["unit"],
        rounds_rate=sum(rounds) if rounds else None,
        latency=summary(histogram),
        reach=sums["received"] / sums["expected"] if sums["expected"] else None,
        errors=[ErrorCount(*kind, count) for kind, count in errors.most_common()],
        loads=loads,
        saturated=saturation(loads),
        # Each would have measured the same server.
        server=ServerUsage(**servers[0]) if len(servers) == 1 else None,
        interrupted=any(report["interrupted"] for report in reports),
        remarks=list(dict.fromkeys(remark for report in reports for remark in report["remarks"])),
        histogram=histogram,
        **sums,
    )
