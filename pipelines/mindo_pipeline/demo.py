"""`mindo demo`: a made-up Mindo, loaded by the same code as `mindo run`, and first answers from its tables.

The world is the same all day: it ends with the last midnight, UTC. So a second demo on the same day is a nightly re-read in
which nothing changes, and a demo on another day loads another world in its place. The demo writes only to a warehouse that
is empty or holds a demo's messages, which the ledger tells: a demo's `run_id` begins with `demo-`. For the same reason
`mindo run` refuses a warehouse that holds them.
"""

from __future__ import annotations

import os
import shlex
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from mindo import ConfigurationError, Options
from mindo.columns import COMPANIES, EXPORT_WINDOWS, MESSAGES
from mindo.configuration import MindoConfiguration, check_options
from mindo_emulator import GLOBAL_DEMO_KEY, Emulator, World

from .console import clean, make_table, typed_as
from .insights import INSIGHTS, Insight
from .loading import load
from .report import TABLES
from .running import DEMO_RUN_PREFIX, run_increment
from .session import Session, Verdict
from .warehouse import DEFAULT_DATASET, Warehouse

_DAYS: Final = 60
_MESSAGES: Final = 8_000
_HOLDS: Final = {
    "messages": "a row per message",
    "messages__classifications": "labels of messages",
    "messages__extractions": "what field extractors found",
    "messages__tool_calls": "tools that AI agents called",
    "export_windows": "what was read, when, and that it was whole",
    "companies": "names and time zones",
}


def demo_command(session: Session, database: str | None, now: datetime | None = None) -> Verdict:
    """Makes the world, loads it and asks first questions.

    Args:
        session: Where it is reported.
        database: The DuckDB file; by default the configured one.
        now: The clock.
    """
    clock = now or datetime.now(UTC)
    end = clock.replace(hour=0, minute=0, second=0, microsecond=0)
    world = World.generate(end=end, start=end - timedelta(days=_DAYS), messages=_MESSAGES)
    warehouse = Warehouse("duckdb", DEFAULT_DATASET, database)
    if warehouse.file is None:
        raise ConfigurationError("database: the demo needs a DuckDB file; name one with --database demo.duckdb.")
    session.note(f"A made-up Mindo of {len(world.companies)} companies, loaded into {clean(warehouse.location)}")
    with Emulator(world) as emulator:
        options = _options(world, emulator.base_url, clock)
        verdict = load(
            session,
            options,
            warehouse,
            run_increment,
            lambda warehouse: _make_room(warehouse, world),
            f"{DEMO_RUN_PREFIX}{uuid.uuid4().hex}",
        )
    session.tell(verdict)
    session.document |= {"database": str(warehouse.file), "tables": {}, "insights": {}}
    _show_tables(session, warehouse)
    for insight in INSIGHTS:
        _show_insight(session, warehouse, insight)
    _show_next(session, warehouse.file)
    return verdict


def _options(world: World, base_url: str, now: datetime) -> Options:
    # built by hand: nothing of the user's configuration may lead the demo to a real API
    raw = MindoConfiguration()
    raw.base_url = base_url
    raw.api_key = GLOBAL_DEMO_KEY
    raw.company_ids = list(world.companies)
    raw.companies = {str(c.id): {"name": c.name, "timezone": c.timezone} for c in world.companies.values()}
    raw.start_date = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=_DAYS)
    return check_options(raw, now)


def _make_room(warehouse: Warehouse, world: World) -> None:
    """Keeps made-up messages out of a warehouse with real ones, and drops those of another day's demo."""
    runs = warehouse.query(f"SELECT DISTINCT run_id FROM {{{EXPORT_WINDOWS}}}")
    stored = warehouse.query(f"SELECT count(*) AS n, max(occurred_at) AS last FROM {{{MESSAGES}}}")
    is_filled = bool(stored and stored[0]["n"])
    if any(not row["run_id"].startswith(DEMO_RUN_PREFIX) for row in runs) or (is_filled and not runs):
        raise ConfigurationError(
            f"{warehouse.location}: holds messages that are not the demo's, so the demo leaves it alone; choose another"
            " file: mindo demo --database demo.duckdb."
        )
    span = world.span
    if is_filled and (span is None or (stored[0]["n"], stored[0]["last"].astimezone(UTC)) != (world.count(), span[1])):
        warehouse.clear()


def _show_tables(session: Session, warehouse: Warehouse) -> None:
    table = make_table("table", ">rows", "holds")
    for name, rows in warehouse.count_rows([*TABLES, EXPORT_WINDOWS, COMPANIES]).items():
        session.document["tables"][name] = rows
        table.add_row(f"{warehouse.dataset}.{name}", f"{rows:,}", _HOLDS[name])
    session.show(table)


def _show_insight(session: Session, warehouse: Warehouse, insight: Insight) -> None:
    rows = warehouse.query(insight.sql)
    session.document["insights"][insight.name] = {"title": insight.title, "rows": rows}
    if rows:
        session.show(Text(insight.title, "bold"), _answer_table(rows))


def _answer_table(rows: list[dict[str, Any]]) -> Table:
    numeric = {name for name, value in rows[0].items() if isinstance(value, int | float)}
    table = make_table(*(f"{'>' * (name in numeric)}{name.replace('_', ' ')}" for name in rows[0]))
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v, int | float) else clean(v) for v in row.values()))
    return table


def _show_next(session: Session, file: Path) -> None:
    path = Path(os.path.relpath(file))
    query = "SELECT direction, count(*) FROM mindo.messages GROUP BY ALL"
    code = f"import duckdb; print(duckdb.connect({str(path)!r}, read_only=True).sql('{query}'))"
    quoted = shlex.quote(code) if set(str(path)) & set('"$`\\!') else f'"{code}"'
    mindo = typed_as("mindo")
    commands = (
        (f"{mindo} dashboard", "health, conversations, and each of them to read, in the browser"),
        (f"{mindo} status", "how far each company is loaded"),
        (f"{mindo} init", "writes .dlt/config.toml and .dlt/secrets.toml; put your key in"),
        (f"{mindo} check", "tells whether it works"),
        (f"{mindo} run", "drops the made-up messages, loads the last 30 days, and every night what is new"),
    )
    width = max(len(command) for command, _ in commands)
    lines = [f"  {command:{width}}  {what}" for command, what in commands]
    session.show(
        Text(f"The tables are in {clean(path)}, schema mindo. To query them:", "bold"),
        f"  {typed_as('python')} -c {quoted}",
        "",
        *lines[:2],
        "",
        Text("With a key of your own:", "bold"),
        *lines[2:],
        "",
    )
