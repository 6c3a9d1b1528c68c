"""Writes `RESULTS.md` and the chart, from the measured files only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS_IN_ORDER, OURS, Contender
from .destinations import AGAIN, DESTINATIONS, FIRST
from .environments import NotInstalled, python_of
from .figures import Runs, cpu_seconds, finished, largest_finished, megabytes, rate, ratio, seconds
from .growth import LOOKBACK, PREPARE, STRICT
from .measuring import FINISHED
from .models import FULL, INCREMENT, UNCHANGED
from .places import CHART
from .records import Record
from .startup import EMPTY_RUN, HELP
from .targets import JUDGED, Measured, judge, requests_per_minute

CHART_FILE = "throughput.svg"
_HELD = {True: "held", False: "**not held**", None: ""}


def write_report(folder: Path, results: Path) -> None:
    """Writes the results, and the chart into the folder of the measured files."""
    measured = Measured.of(folder)
    results.write_text(make_report(measured, f"{folder.name}/{CHART_FILE}"), encoding="utf-8")
    chart = make_chart(measured.throughput)
    if chart is None:
        return
    try:
        python = python_of(CHART)
    except NotInstalled as error:
        print(f"no chart is drawn: {error}", file=sys.stderr)
        return
    draw = [str(python), str(CHART / "draw.py"), str(folder / CHART_FILE)]
    subprocess.run(draw, input=json.dumps(chart), text=True, check=True)


def make_report(measured: Measured, chart: str) -> str:
    """The text of `RESULTS.md`.

    Args:
        measured: The measured runs.
        chart: Where the chart is, as seen from there.
    """
    parts = [_head(measured), _targets(measured)]
    if measured.throughput:
        parts.append(_throughput(measured.throughput, chart))
    if measured.growth:
        parts.append(_growth(measured.growth))
    if measured.latency:
        parts.append(_latency(measured.latency))
    if measured.startup:
        parts.append(_startup(measured.startup))
    if measured.destinations:
        parts.append(_destinations(measured.destinations))
    if measured.models:
        parts.append(_models(measured.models))
    return "\n".join(parts)


def make_chart(records: Sequence[Record]) -> dict[str, Any] | None:
    """What the chart shows: at the size where contenders are compared or, if that was not measured, the largest one below."""
    sizes = [record["messages"] for record in records if record["messages"] <= JUDGED]
    if not sizes:
        return None
    size = max(sizes)
    runs = {contender: largest_finished(records, contender.name, size) for contender in CONTENDERS_IN_ORDER}
    panels = (
        ("messages per second", rate, "{:,.0f}"),
        ("peak memory, MB", megabytes, "{:,.0f}"),
        (
            "CPU seconds per 100,000 messages",
            lambda record: cpu_seconds(record) / record["messages"] * 100_000,
            "{:.1f}",
        ),
    )
    return {
        "title": f"From HTTP to four DuckDB tables, {size:,} messages",
        "note": "Medians of whole processes. Hatched: at the largest size that the contender loaded right.",
        "panels": [
            {"title": title, "bars": [_bar(contender, runs[contender], value, text, size) for contender in runs]}
            for title, value, text in panels
        ],
    }


def _bar(contender: Contender, runs: Runs | None, value: Any, text: str, size: int) -> dict[str, Any]:
    bar: dict[str, Any] = {
        "contender": contender.name,
        "title": contender.title,
        "value": None,
        "label": "none finished",
        "smaller": False,
    }
    if runs:
        smaller = runs.messages < size
        label = text.format(runs.middle(value)) + (f" (at {runs.messages:,})" if smaller else "")
        bar |= {"value": runs.middle(value), "label": label, "smaller": smaller}
    return bar


def _head(measured: Measured) -> str:
    lines = [
        "# Benchmarks",
        "",
        "`make bench` measures and writes this page and its chart from the files in [results](results); nothing here is typed in by",
        "hand. Contenders take turns, each in a process and an environment of its own, over HTTP on loopback. Shown are medians, and",
        "in brackets the least and the greatest of the rounds. Ratios are taken over the rounds that both have. MB are 2^20 bytes.",
        "",
    ]
    rows = []
    for kind, records in vars(measured).items():
        if records:
            dates = sorted(record["date"][:10] for record in records)
            commits = sorted({f"{record['commit']}{' and changes' if record['changed'] else ''}" for record in records})
            machines = sorted(
                {
                    f"{r['cores']} cores, {r['memory_gigabytes']} GB, {r['system']}, Python {r['python']}"
                    for r in records
                }
            )
            date = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
            rows.append([kind, date, ", ".join(commits), "; ".join(machines)])
    return "\n".join([*lines, *_table(["measured", "date", "commit", "on"], "llll", rows)])


def _targets(measured: Measured) -> str:
    rows = [[target.promise, target.measured, _HELD[target.held]] for target in judge(measured)]
    return "\n".join(["", "## What must hold", "", *_table(["target", "measured", ""], "lll", rows)])


def _throughput(records: Sequence[Record], chart: str) -> str:
    lines = ["", "## Throughput", "", f"![messages per second, peak memory and CPU seconds by contender]({chart})"]
    for size in sorted({record["messages"] for record in records}):
        ours = finished(records, contender=OURS.name, messages=size)
        rows = []
        for contender in CONTENDERS_IN_ORDER:
            runs = finished(records, contender=contender.name, messages=size)
            if runs:
                least, greatest = runs.ends(rate)
                times = str(ratio(ours, runs, rate)) if ours and contender is not OURS else ""
                if reasons := _reasons(records, contender, size):
                    times += f" {len(runs.records)} run(s) only; another: {reasons}"
                rows.append(
                    [
                        contender.title,
                        f"{runs.middle(rate):,.0f}",
                        f"{least:,.0f} to {greatest:,.0f}",
                        f"{runs.middle(seconds):,.1f}",
                        f"{runs.middle(cpu_seconds):,.1f}",
                        f"{runs.middle(megabytes):,.0f}",
                        times,
                    ]
                )
            elif reasons := _reasons(records, contender, size):
                rows.append([contender.title, *[""] * 5, reasons])
        head = ["contender", "messages/s", "slowest, fastest", "seconds", "CPU seconds", "peak MB", "ours against it"]
        lines += ["", f"### {size:,} messages", "", *_table(head, "lrrrrrl", rows)]
    lines += ["", "### Versions", "", *_table(["contender", "packages"], "ll", _versions(records))]
    return "\n".join(lines)


def _reasons(records: Sequence[Record], contender: Contender, size: int) -> str:
    found = [
        r for r in records if r["contender"] == contender.name and r["messages"] == size and r["outcome"] != FINISHED
    ]
    return _plain(f"{found[0]['outcome']}: {found[0]['reason']}") if found else ""


def _versions(records: Sequence[Record]) -> Iterator[list[str]]:
    for contender in CONTENDERS_IN_ORDER:
        found = dict.fromkeys(
            ", ".join(f"{name} {number}" for name, number in record["versions"].items())
            for record in records
            if record["contender"] == contender.name and "versions" in record
        )
        if found:
            yield [contender.title, "; ".join(found)]


def _growth(records: Sequence[Record]) -> str:
    head = ["", "history", "messages read", "seconds", "CPU seconds", "peak MB"]
    rows = []
    for kind in (STRICT, LOOKBACK, PREPARE):
        for history in sorted({record["history"] for record in records}):
            runs = finished(records, kind=kind, history=history)
            if runs:
                read_most = f"{max(record['read'] for record in runs.records):,}"
                cells = [
                    _spread(runs, value, digits) for value, digits in ((seconds, 1), (cpu_seconds, 1), (megabytes, 0))
                ]
                rows.append([kind, f"{history:,}", read_most, *cells])
    return "\n".join(
        [
            "",
            "## Growth",
            "",
            "`mindo run` of a night with 20,000 new messages, on top of a history; and the backfill that loaded the history.",
            "",
            *_table(head, "lrrrrr", rows),
        ]
    )


def _latency(records: Sequence[Record]) -> str:
    one = finished(records, workers=1)
    rows = []
    for count in sorted({record["workers"] for record in records}):
        runs = finished(records, workers=count)
        if runs:
            times = str(ratio(one, runs, seconds)) if one else ""
            requests = f"{runs.records[0]['requests']:,}"
            a_minute = f"{runs.middle(requests_per_minute):,.0f}"
            repeated = str(sum(record["retries"] for record in runs.records))
            rows.append([str(count), _spread(runs, seconds, 1), times, requests, a_minute, repeated])
    first = records[0]
    return "\n".join(
        [
            "",
            "## Latency",
            "",
            f"`mindo backfill` of {first['messages']:,} messages of {first['companies']} companies from an API that takes"
            f" {first['latency_seconds'] * 1000:.0f} ms per request, gives at most {first['page_cap']:,} messages per page, and"
            f" answers 429 beyond {first['rate_limit_per_second']} requests per second.",
            "",
            *_table(
                ["workers", "seconds", "faster than one", "requests", "requests a minute", "repeated"], "rrrrrr", rows
            ),
        ]
    )


def _startup(records: Sequence[Record]) -> str:
    rows = []
    for kind in (HELP, EMPTY_RUN):
        runs = finished(records, kind=kind)
        if runs:
            rows.append([f"`{kind}`" if kind == HELP else kind, _spread(runs, seconds, 2), _spread(runs, megabytes, 0)])
    return "\n".join(["", "## Start-up", "", *_table(["", "seconds", "peak MB"], "lrr", rows), ""])


def _destinations(records: Sequence[Record]) -> str:
    rows = []
    values = ((rate, 0), (seconds, 1), (cpu_seconds, 1), (megabytes, 0))
    for kind in (FIRST, AGAIN):
        for destination in DESTINATIONS:
            runs = finished(records, destination=destination, kind=kind)
            if runs:
                rows.append([kind, destination, *(_spread(runs, value, digits) for value, digits in values)])
    return "\n".join(
        [
            "## Destinations",
            "",
            f"`mindo backfill` of {records[0]['messages']:,} messages; the server runs on the same machine, and is not part of the figures.",
            "",
            *_table(["", "destination", "messages/s", "seconds", "CPU seconds", "peak MB"], "llrrrr", rows),
            "",
        ]
    )


def _models(records: Sequence[Record]) -> str:
    rows = []
    for kind in (FULL, INCREMENT, UNCHANGED):
        runs = finished(records, kind=kind)
        if runs:
            rows.append(
                [
                    kind,
                    *(
                        _spread(runs, value, digits)
                        for value, digits in ((seconds, 1), (cpu_seconds, 1), (megabytes, 0))
                    ),
                ]
            )
    return "\n".join(
        [
            "## dbt models",
            "",
            f"`mindo dbt build`, models and their tests, over {records[0]['history']:,} messages in DuckDB.",
            "",
            *_table(["", "seconds", "CPU seconds", "peak MB"], "lrrr", rows),
            "",
        ]
    )


def _spread(runs: Runs, value: Any, digits: int) -> str:
    least, greatest = runs.ends(value)
    return f"{runs.middle(value):,.{digits}f} ({least:,.{digits}f} to {greatest:,.{digits}f})"


def _table(head: Sequence[str], sides: str, rows: Iterable[Sequence[str]]) -> list[str]:
    rules = {"l": ":---", "r": "---:"}
    lines = [head, [rules[side] for side in sides], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
