"""A backfill by a fleet of Dagster, Celery and Redis, one worker of which is killed in the middle; then compared with the truth.

Two runs of one partition begin it at the same moment, in an empty database. Then all companies and months are backfilled; one of
two workers is killed, with all its processes, while it loads, and does not come back. Nothing is done by hand until the backfill
has ended. At last one partition is loaded again, by one run and by two at the same moment.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg2

from tests.destinations.places import Postgres, as_held
from tests.destinations.servers import postgres_server, redis_server
from tests.support import assert_tables_hold

from .. import truth
from ..emulator import KEY, World, serve
from ..places import KEPT, run_folder
from ..records import Record
from .dagster_api import DagsterApi, Run
from .emulated import add_faults, requests_asked, requests_struck, set_latency
from .machines import Machine, machine_room, start_control, start_worker, tell, wait_until

DEFINITIONS: Final = "mindo_pipeline.dagster.definitions"
DATASET: Final = "mindo"
_ASSETS: Final = (*truth.TABLES, "export_windows", "companies")
_LOCK: Final = int.from_bytes(hashlib.sha256(f"mindo {DATASET}".encode()).digest()[:8])
"""The advisory lock of a load of the dataset."""
_LATENCY_SECONDS: Final = 0.02
_LATENCY_SECONDS_OF_TWINS: Final = 0.5
_ENDED: Final = frozenset({"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"})
_FAULTS: Final[Mapping[str, dict[str, Any]]] = {
    "server_error": {"after": 40, "times": 6},
    "rate_limited": {"after": 150, "times": 2},
    "cut_chunked": {"after": 250, "times": 4},
    "error_line": {"after": 350, "times": 3},
    "lost_sentinel": {"after": 20, "times": 3},
}
"""What strikes some requests of the backfill."""


@dataclass(frozen=True)
class Size:
    """What the fleet has to load.

    Attributes:
        companies: How many.
        months: How many whole months, up to the last one.
        messages: Over all companies.
        longest_run: After so many seconds a run is taken for dead.
    """

    companies: int
    months: int
    messages: int
    longest_run: int

    @property
    def company_ids(self) -> list[int]:
        return list(range(101, 101 + self.companies))

    @property
    def end(self) -> datetime:
        """The start of the running month."""
        return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)

    @property
    def month_starts(self) -> list[datetime]:
        starts = [self.end]
        for _ in range(self.months):
            starts.append((starts[-1] - timedelta(days=1)).replace(day=1))
        return starts[:0:-1]

    @property
    def partitions(self) -> list[str]:
        return [f"{company}|{start:%Y-%m}" for start in self.month_starts for company in self.company_ids]


class NotProven(Exception):
    """Something did not hold; says what."""


@dataclass
class Fleet:
    """A running fleet, and what is asked of it.

    Attributes:
        api: Dagster's.
        postgres: URL of the database of the warehouse.
        emulator: URL of the API.
    """

    size: Size
    api: DagsterApi
    postgres: str
    emulator: str
    workers: dict[str, Machine] = field(default_factory=dict)

    def backfill(self, partitions: Sequence[str]) -> str:
        return self.api.backfill(partitions, {"dagster/max_runtime": str(self.size.longest_run)})

    def await_end(self, backfills: Sequence[str], seconds: float) -> list[Run]:
        """Waits for the end of backfills, and gives their runs.

        Raises:
            NotProven: If one did not end well.
        """
        told = [0]

        def ended() -> bool:
            states = [self.api.backfill_status(backfill) for backfill in backfills]
            runs = Counter(run.status for backfill in backfills for run in self.api.runs_of(backfill))
            if runs["SUCCESS"] > told[0]:
                told[0] = runs["SUCCESS"]
                tell(f"  {', '.join(f'{count} {status.lower()}' for status, count in sorted(runs.items()))}")
            return all(state in _ENDED for state in states)

        wait_until("the end of the backfill", ended, seconds, every=3.0)
        states = {self.api.backfill_status(backfill) for backfill in backfills}
        if states != {"COMPLETED_SUCCESS"}:
            raise NotProven(f"the backfill ended as {', '.join(states)}")
        return [run for backfill in backfills for run in self.api.runs_of(backfill)]

    def loading_port(self) -> int | None:
        """The port from which the session was opened that holds the dataset for a load right now."""
        found = self.rows(
            "SELECT client_port FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
            f" AND classid = {_LOCK >> 32} AND objid = {_LOCK & 0xFFFFFFFF}"
        )
        return int(found[0][0]) if found else None

    def schemas(self) -> list[str]:
        """Schemas of the warehouse: the dataset's, and the staging that loads have."""
        return [
            name for (name,) in self.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'mindo%' ORDER BY 1")
        ]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg2.connect(self.postgres) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        connection.close()
        return found

    def versions(self) -> dict[str, str]:
        """A digest of each table's keys, contents and load ids: it changes if any row is written again."""
        digests = {}
        for table in truth.TABLES:
            place = "0" if table == "messages" else "_dlt_list_idx"
            ((digest,),) = self.rows(
                "SELECT md5(string_agg(concat_ws(',', company_id, message_id, place, _row_hash, _dlt_id, _dlt_load_id), ';'"
                f" ORDER BY company_id, message_id, place)) FROM (SELECT *, {place} AS place FROM {DATASET}.{table}) AS rows"
            )
            digests[table] = digest
        return digests


def prove(size: Size) -> Record:
    """Runs all of it, and gives what was counted.

    Raises:
        NotProven: If something did not hold.
        NotInTime: If something that had to come did not.
    """
    world = World(
        size.messages,
        size.month_starts[0].isoformat(),
        size.end.isoformat(),
        ",".join(map(str, size.company_ids)),
    )
    started = time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder())
        postgres = stack.enter_context(postgres_server())
        redis = stack.enter_context(redis_server(KEPT / "redis"))
        url = stack.enter_context(serve(world, "--latency", str(_LATENCY_SECONDS)))
        _create_database(postgres, "dagster")
        room = stack.enter_context(machine_room(folder, _environment(size, postgres, redis, url)))
        machines: dict[str, Machine] = {}
        try:
            machines |= {"control": room("control")}
            ui = start_control(machines["control"], DEFINITIONS)
            tell(f"Dagster's UI is at {ui}")
            fleet = Fleet(size, DagsterApi(ui, [["mindo", table] for table in _ASSETS]), postgres, url)
            for name in ("one", "two"):
                machines[name] = fleet.workers[name] = room(name)
                start_worker(machines[name])
            wait_until("partitions of the companies", lambda: fleet.api.companies() >= set(map(str, size.company_ids)))
            record = _begin_at_once(fleet) | _backfill(fleet)
            machines["three"] = fleet.workers["three"] = room("three")
            start_worker(machines["three"])
            record |= _compare(fleet) | _again(fleet)
            record |= {"verified": _verify(machines["control"], size)}
        except BaseException:
            for machine in machines.values():
                tell(machine.logs())
            raise
    return record | {
        "companies": size.companies,
        "months": size.months,
        "longest_run_seconds": size.longest_run,
        "seconds": round(time.monotonic() - started, 1),
    }


def _environment(size: Size, postgres: str, redis: str, url: str) -> dict[str, str]:
    return {
        "DAGSTER_POSTGRES_URL": f"{postgres.rpartition('/')[0]}/dagster",
        "CELERY_BROKER_URL": redis,
        "SOURCES__MINDO__BASE_URL": url,
        "SOURCES__MINDO__API_KEY": KEY,
        "SOURCES__MINDO__COMPANY_IDS": ",".join(map(str, size.company_ids)),
        "SOURCES__MINDO__START_DATE": f"{size.month_starts[0]:%Y-%m-%d}",
        "DESTINATION__POSTGRES__CREDENTIALS": postgres,
        "DAGSTER__DESTINATION": "postgres",
        "DAGSTER__DATASET": DATASET,
    }


def _create_database(postgres: str, name: str) -> None:
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()


def _begin_at_once(fleet: Fleet) -> Record:
    """Two runs of one partition at the same moment, where there are no tables yet."""
    tell("two runs of one partition at once, in an empty database")
    runs = _twins(fleet, fleet.size.partitions[0])
    if {run.status for run in runs} != {"SUCCESS"}:
        raise NotProven("of two runs that began at the same moment one failed")
    return {"begun_at_once_overlap_seconds": round(_overlap(runs), 1)}


def _backfill(fleet: Fleet) -> Record:
    size = fleet.size
    add_faults(fleet.emulator, _FAULTS)
    tell(f"backfill of {len(size.partitions)} partitions")
    begun = time.monotonic()
    backfill = fleet.backfill(size.partitions)
    killed = _kill_in_the_middle(fleet, backfill)
    runs = fleet.await_end([backfill], seconds=3600)
    seconds = time.monotonic() - begun
    retried = [run for run in runs if run.parent]
    dead = [run for run in runs if run.status == "FAILURE"]
    if not retried or not dead:
        raise NotProven("no run died, so nothing was proven")
    done = {run.partition for run in runs if run.status == "SUCCESS"}
    if done != set(size.partitions):
        raise NotProven(f"without a run that ended well: {', '.join(sorted(set(size.partitions) - done))}")
    if fleet.schemas() != [DATASET]:
        raise NotProven(f"left in the database: {fleet.schemas()}")
    struck = requests_struck(fleet.emulator)
    if not struck:
        raise NotProven("no request failed, though many should have")
    return killed | {
        "backfill_seconds": round(seconds, 1),
        "runs": len(runs),
        "runs_dead": len(dead),
        "runs_retried": len(retried),
        "requests": requests_asked(fleet.emulator),
        "requests_struck": struck,
    }


def _kill_in_the_middle(fleet: Fleet, backfill: str) -> Record:
    """Kills all processes of a worker while it loads, once half of the partitions are done."""
    half = len(fleet.size.partitions) // 2

    def is_half_done() -> bool:
        return sum(run.status == "SUCCESS" for run in fleet.api.runs_of(backfill)) >= half

    wait_until("half of the partitions", is_half_done, 3600, every=3.0)
    victim = fleet.workers["two"]

    def loads() -> bool:
        return len(fleet.schemas()) > 1 and fleet.loading_port() in victim.ports()

    wait_until("a load of the worker that is to be killed", loads, 600, every=0.1)
    victim.kill()
    done = sum(run.status == "SUCCESS" for run in fleet.api.runs_of(backfill))
    left = len(fleet.schemas()) - 1
    tell(f"a worker was killed after {done} partitions, staging schemas at that moment: {left}")
    return {"killed_after": done, "staging_when_killed": left}


def _compare(fleet: Fleet) -> Record:
    """Every cell of the four tables with what the API gives, which is read here by other code than the connector's."""
    tell("comparing all cells with the API")
    size = fleet.size
    add_faults(fleet.emulator, {})
    rows: Counter[str] = Counter()
    for company in size.company_ids:
        api = truth.Api(fleet.emulator, KEY, str(company), f"{size.month_starts[0]:%Y-%m-%d}", f"{size.end:%Y-%m-%d}")
        place = Postgres(fleet.postgres, f"company_id = {company}")
        messages = [as_held(message, place.replacement) for message in truth.read_rows(api)]
        tables = place.read(DATASET)
        try:
            assert_tables_hold(tables, messages, [company], size.month_starts[0], size.end, stamped=True)
        except AssertionError as error:
            raise NotProven(str(error)) from None
        rows.update({table: len(content.rows) for table, content in tables.items()})
    ((all_messages,),) = fleet.rows(f"SELECT count(*) FROM {DATASET}.messages")
    if not rows["messages"] == all_messages == size.messages:
        raise NotProven(f"{all_messages:,} messages instead of {size.messages:,}")
    materialized = fleet.api.materialized()
    if materialized != len(size.partitions):
        raise NotProven(f"to Dagster {materialized} of {len(size.partitions)} partitions are materialised")
    return {"messages": all_messages, "rows": sum(rows.values()), "partitions": materialized}


def _again(fleet: Fleet) -> Record:
    """The same partition once more, and twice more at the same moment: no row is written."""
    tell("one partition again, then by two runs at once")
    partition = fleet.size.partitions[-1]
    before = fleet.versions()
    fleet.await_end([fleet.backfill([partition])], seconds=300)
    if fleet.versions() != before:
        raise NotProven("a partition that was loaded again changed rows")
    runs = _twins(fleet, partition, attempts=3)
    if fleet.versions() != before:
        raise NotProven("a partition that was loaded twice at the same moment changed rows")
    if fleet.schemas() != [DATASET]:
        raise NotProven(f"left in the database: {fleet.schemas()}")
    return {"again_at_once_overlap_seconds": round(_overlap(runs), 1)}


def _twins(fleet: Fleet, partition: str, attempts: int = 1) -> list[Run]:
    """Two backfills of the same partition; two runs that overlap come of them.

    Raises:
        NotProven: If they never overlapped.
    """
    # long enough for a worker that has yet to import everything
    set_latency(fleet.emulator, _LATENCY_SECONDS_OF_TWINS)
    for _ in range(attempts):
        runs = fleet.await_end([fleet.backfill([partition]) for _ in range(2)], seconds=600)
        if _overlap(runs) > 0:
            set_latency(fleet.emulator, _LATENCY_SECONDS)
            return runs
    raise NotProven("two runs that should have been at the same moment were not")


def _overlap(runs: Sequence[Run]) -> float:
    """For how many seconds the first two runs were under way at the same time."""
    one, other = runs[:2]
    if not (one.started and one.ended and other.started and other.ended):
        return 0.0
    return min(one.ended, other.ended) - max(one.started, other.started)


def _verify(machine: Machine, size: Size) -> str:
    """What `mindo verify` says, and whether the state has every company complete up to the end."""
    place = ["--destination", "postgres", "--dataset", DATASET]
    told = json.loads(machine.output("mindo", "verify", *place, "--json"))
    status = json.loads(machine.output("mindo", "status", *place, "--json"))
    complete = {row["company_id"]: datetime.fromisoformat(row["watermark"]) for row in status["companies"]}
    if complete != dict.fromkeys(size.company_ids, size.end):
        raise NotProven(f"the state is not complete up to {size.end}: {complete}")
    return str(told["message"])
