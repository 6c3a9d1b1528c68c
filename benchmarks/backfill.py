"""Times `mindo backfill` as a whole process: from HTTP on loopback to merged DuckDB tables.

The emulator serves made-up messages from a process of its own. Writes what it measured to `benchmarks/results/backfill.md`.

    make bench ARGS='--messages 1000000 --rounds 3'
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "backfill.md"
FIRST_DAY, LAST_DAY = "2026-04-01", "2026-05-31"
COMPANIES = "42,57,63"


@dataclass(frozen=True)
class Measure:
    """One run of the process: start-up, reading, loading and exit."""

    messages: int
    seconds: float
    cpu_seconds: float
    peak_megabytes: float

    @property
    def messages_per_second(self) -> float:
        return self.messages / self.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes to measure")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each size")
    options = parser.parse_args()
    lines = [
        "# Backfill",
        "",
        f"`python -m benchmarks.backfill --messages {' '.join(map(str, options.messages))} --rounds {options.rounds}` on"
        f" {os.cpu_count()} cores, Python {platform.python_version()}. Medians; the whole process, HTTP to merged tables.",
        "",
        "| messages | seconds | messages/s | CPU seconds | peak memory (MB) | slowest, fastest (messages/s) |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for messages in options.messages:
        with emulator(messages) as url:
            runs = [backfill(url, messages) for _ in range(options.rounds)]
        rates = sorted(run.messages_per_second for run in runs)
        middle = statistics.median
        lines.append(
            f"| {messages:,} | {middle(r.seconds for r in runs):.1f} | {middle(rates):,.0f}"
            f" | {middle(r.cpu_seconds for r in runs):.1f} | {max(r.peak_megabytes for r in runs):,.0f}"
            f" | {rates[0]:,.0f}, {rates[-1]:,.0f} |"
        )
        print(lines[-1], file=sys.stderr)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


@contextlib.contextmanager
def emulator(messages: int) -> Iterator[str]:
    """Serves that many messages from a process of its own; gives its base URL."""
    command = [sys.executable, "-m", "mindo_emulator", "--bulk", "--messages", str(messages), "--port", "0"]
    command += ["--start", FIRST_DAY, "--end", LAST_DAY, "--companies", COMPANIES, "--no-control"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        announcement = process.stderr.readline()
        yield next(word for word in announcement.split() if word.startswith("http://"))
    finally:
        process.terminate()
        process.wait(timeout=30)


def backfill(url: str, messages: int) -> Measure:
    """Runs `mindo backfill` in an empty folder and checks that it loaded every message."""
    environment = {
        **os.environ,
        "SOURCES__MINDO__BASE_URL": url,
        "SOURCES__MINDO__API_KEY": "mindo_global_demo",
        "SOURCES__MINDO__COMPANY_IDS": COMPANIES,
    }
    command = [
        str(Path(sys.executable).with_name("mindo")),
        "backfill",
        "--from",
        FIRST_DAY,
        "--to",
        LAST_DAY,
        "--json",
    ]
    with tempfile.TemporaryDirectory(prefix="mindo-benchmark-") as folder, tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        report = json.load(output)
    if process.returncode or report["rows"]["messages"] != messages:
        raise SystemExit(f"the backfill is not complete: {report['message']}")
    # kilobytes on Linux, bytes on macOS
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Measure(messages, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


if __name__ == "__main__":
    main()
