"""A fleet of Dagster, Celery and Redis on one machine, and how long a fleet of any size takes.

make fleet                                                        # the proof: a worker is killed, the truth has to come out
make fleet ARGS='proof --companies 2 --months 2 --messages 3000'  # a small one, which only prints
make fleet ARGS=times                                             # foretold and measured times; half an hour, most of it waiting
make fleet ARGS=report                                            # the pages from what was measured
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from tests.destinations.servers import ServerMissing

from ..mindo import MindoFailed
from ..places import RESULTS
from ..records import RecordFile
from .machines import NotInTime, tell
from .proof import NotProven, Size, prove
from .report import PROOF, TIMES, write_pages
from .times import WHOLE, measure_times

_PROGRAM: Final = "benchmarks.fleet"
_WHOLE_PROOF: Final = Size(companies=6, months=12, messages=72_000, longest_run=120)


def main() -> None:
    options = _parse()
    size = Size(options.companies, options.months, options.messages, options.longest_run)
    if "proof" in options.what:
        record = prove(size)
        if len(size.partitions) >= len(_WHOLE_PROOF.partitions):
            RecordFile(RESULTS, PROOF, program=_PROGRAM).add(record)
        tell(json.dumps(record, indent=2))
    if "times" in options.what:
        measure_times(RecordFile(RESULTS, TIMES, options.resume, _PROGRAM), options.days)
    write_pages(RESULTS)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole = _WHOLE_PROOF
    parser.add_argument("what", nargs="*", metavar="WHAT", help="proof (the default), times, report")
    parser.add_argument("--companies", type=int, default=whole.companies, help="of the proof (default: %(default)s)")
    parser.add_argument("--months", type=int, default=whole.months, help="of the proof (default: %(default)s)")
    parser.add_argument(
        "--messages", type=int, default=whole.messages, help="of the proof, over all companies (default: %(default)s)"
    )
    parser.add_argument(
        "--longest-run",
        type=int,
        default=whole.longest_run,
        metavar="SECONDS",
        help="when a run of the proof is taken for dead (default: %(default)s)",
    )
    parser.add_argument("--days", type=int, default=WHOLE.days, help="of times, of each company (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="of times: keep what is measured, measure the rest")
    options = parser.parse_args()
    options.what = options.what or ["proof"]
    if unknown := [what for what in options.what if what not in ("proof", "times", "report")]:
        parser.error(f"{unknown[0]}: there is proof, times, report")
    return options


if __name__ == "__main__":
    try:
        main()
    except (NotInTime, NotProven, MindoFailed, ServerMissing) as error:
        sys.exit(str(error))
