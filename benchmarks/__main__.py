"""Measures our command and its peers against the emulator, or another API, and writes `benchmarks/RESULTS.md`.

make bench                                                                 # everything; it takes hours
make bench ARGS='throughput --only ours --messages 500000 --rounds 1'      # prints, writes nothing
make bench ARGS='throughput growth --resume'                               # goes on where it was broken off
make bench ARGS=report                                                     # RESULTS.md and the chart from the files
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .contenders import CONTENDERS_IN_ORDER
from .destinations import measure_destinations
from .environments import lock
from .growth import HISTORIES, measure_growth
from .latency import WORKERS, measure_latency
from .mindo import MindoFailed
from .models import measure_models
from .places import RESULTS
from .records import RecordFile
from .report import write_report
from .startup import measure_startup
from .throughput import SIZES, measure_throughput
from .truth import Api

MEASURES = ("throughput", "destinations", "growth", "latency", "startup", "models")


def main() -> None:
    options = _parse()
    if "lock" in options.what:
        lock()
        return
    folder = _folder(options)
    for kind in [kind for kind in MEASURES if kind in options.what]:
        file = RecordFile(folder, kind, options.resume)
        if kind == "throughput":
            wanted = options.only or [contender.name for contender in CONTENDERS_IN_ORDER]
            contenders = [contender for contender in CONTENDERS_IN_ORDER if contender.name in wanted]
            measure_throughput(file, contenders, options.messages, options.rounds, _api(options))
        elif kind == "destinations":
            measure_destinations(file, options.rounds)
        elif kind == "growth":
            measure_growth(file, options.history, options.rounds)
        elif kind == "latency":
            measure_latency(file, options.workers, options.rounds)
        elif kind == "models":
            measure_models(file, options.rounds)
        else:
            measure_startup(file)
    if folder:
        write_report(folder, folder.parent / "RESULTS.md")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # what is left out of a record has to be found by its whole name
        allow_abbrev=False,
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help=f"{', '.join(MEASURES)}: measure it (default: all of them); report: only write; lock: pin packages anew",
    )
    parser.add_argument("--messages", type=int, nargs="+", default=SIZES, help="sizes of throughput")
    parser.add_argument("--history", type=int, nargs="+", default=HISTORIES, help="sizes of growth")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="numbers of workers of latency")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the results show medians (default: 3)")
    names = [contender.name for contender in CONTENDERS_IN_ORDER]
    parser.add_argument(
        "--only", nargs="+", choices=names, help="contenders of throughput; printed only, without --resume"
    )
    parser.add_argument("--resume", action="store_true", help="keep what the files of results have, measure the rest")
    parser.add_argument("--results", type=Path, help="folder of the measured files (default: benchmarks/results)")
    parser.add_argument(
        "--url",
        help="another API than the emulator, for throughput only; the key in BENCH_KEY; printed only, without --results",
    )
    parser.add_argument("--companies", help="companies to read there, like 42,57")
    parser.add_argument("--from", dest="start", metavar="DATE", help="first day to read there")
    parser.add_argument("--to", dest="end", metavar="DATE", help="day after the last")
    options = parser.parse_args()
    options.what = options.what or (["throughput"] if options.url else list(MEASURES))
    if unknown := [what for what in options.what if what not in (*MEASURES, "report", "lock")]:
        parser.error(f"{unknown[0]}: there is {', '.join(MEASURES)}, report, lock")
    if options.url and not (options.companies and options.start and options.end and os.environ.get("BENCH_KEY")):
        parser.error("--url needs --companies, --from, --to, and the key in the environment, BENCH_KEY")
    if options.url and options.resume:
        parser.error("--url can't be resumed, as what it serves may have changed: leave --resume out")
    return options


def _folder(options: argparse.Namespace) -> Path | None:
    """Where the measured files go; `None` if they are part of a whole, or a private API's, and nobody named a folder."""
    if (options.only and not options.resume) or (options.url and not options.results):
        return None
    return options.results or RESULTS


def _api(options: argparse.Namespace) -> Api | None:
    if not options.url:
        return None
    return Api(
        options.url.rstrip("/"),
        os.environ["BENCH_KEY"],
        options.companies,
        options.start,
        options.end,
        is_made_up=False,
    )


if __name__ == "__main__":
    try:
        main()
    except MindoFailed as error:
        raise SystemExit(str(error)) from None
