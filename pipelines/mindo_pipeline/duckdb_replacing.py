"""How a load replaces its windows in DuckDB: straight from the parquet files of its package.

The result is that of dlt's `cdc` merge with the marker rows of `mindo.replacing`, except that the lists of a message that
moves go along. Nothing is copied to a staging table first, and only rows that differ are written. Outside of the load's bounds
in time nothing is read but the keys of `messages`, and that only for messages that arrive: they may have been there at another
time. If one was, its rows are looked up as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path
from typing import Any, Final

from mindo.columns import CHILD_TABLES, MESSAGES, PRIMARY_KEYS
from mindo.strategies import REPLACED_TABLES

_MOVED: Final = "temp.moved_messages"
_MESSAGE: Final = ", ".join(PRIMARY_KEYS[MESSAGES])
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT: Final = timedelta(microseconds=1)

Execute = Callable[[str], Sequence[Sequence[Any]] | None]


@dataclass(frozen=True)
class Replacement:
    """A table, and the files that hold its rows and markers.

    Attributes:
        table: Its name.
        qualified: Its name with the dataset, quoted.
        files: Parquet files of one load.
    """

    table: str
    qualified: str
    files: Sequence[Path]

    @property
    def key(self) -> str:
        """The columns of the primary key."""
        return ", ".join(PRIMARY_KEYS[self.table])

    @property
    def source(self) -> str:
        """All rows of the files, markers included."""
        return read_parquet(self.files)

    def rows(self, columns: str) -> str:
        """The rows that the table is to hold."""
        return f"(SELECT {columns} FROM {self.source} WHERE _window_end IS NULL)"

    @property
    def kept(self) -> str:
        """The messages whose rows have to stay, as this list of theirs was not asked for."""
        return f"(SELECT {_MESSAGE} FROM {self.source} WHERE _window_end IS NOT NULL)"

    def held(self, bounds: Bounds) -> str:
        """What the table holds within the bounds."""
        return f"(SELECT rowid AS held_row, * FROM {self.qualified} WHERE {bounds.within})"


@dataclass(frozen=True)
class Bounds:
    """What a load covers in time, half-open; as literals, so that DuckDB skips all that lies outside."""

    start: datetime
    end: datetime

    @property
    def within(self) -> str:
        """The condition of a row inside."""
        return f"(occurred_at >= {_literal(self.start)} AND occurred_at < {_literal(self.end)})"

    @property
    def outside(self) -> str:
        """The condition of a row outside."""
        return f"(occurred_at < {_literal(self.start)} OR occurred_at >= {_literal(self.end)})"


def read_parquet(files: Sequence[Path]) -> str:
    """The rows of files, wherever they are: a folder's name may look like a pattern, or like a column of Hive."""
    paths = ", ".join("'{}'".format(escape(str(file)).replace("'", "''")) for file in files)
    return f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"


def replace_windows(execute: Execute, files: Mapping[str, Sequence[Path]], qualify: Callable[[str], str]) -> None:
    """Replaces the windows of a load in all its tables. Has to run in a transaction.

    Args:
        execute: Runs a statement and gives its rows.
        files: The load's files by table; one without files stays as it is.
        qualify: Gives a table's name with its dataset, quoted.
    """
    replacements = [Replacement(table, qualify(table), files[table]) for table in REPLACED_TABLES if files.get(table)]
    bounds = _bounds(execute, replacements)
    if bounds is None:
        return
    for replacement in replacements:
        if replacement.table == MESSAGES:
            _follow_moved(execute, replacements, replacement, bounds)
        for statement in (_delete_changed, _delete_gone, _insert_new):
            execute(statement(replacement, bounds))


def bring_lists_along(execute: Execute, qualify: Callable[[str], str]) -> None:
    """Puts every row of a list at the time of its message, on which `replace_windows` relies.

    dlt's own merge doesn't, if a message moves while that list of it is not asked for.

    Args:
        execute: Runs a statement and gives its rows.
        qualify: Gives a table's name with its dataset, quoted.
    """
    for table in CHILD_TABLES.values():
        execute(
            f"UPDATE {qualify(table)} AS stored SET occurred_at = messages.occurred_at"
            f" FROM {qualify(MESSAGES)} AS messages WHERE messages.company_id = stored.company_id"
            " AND messages.message_id = stored.message_id AND messages.occurred_at <> stored.occurred_at"
        )


def _bounds(execute: Execute, replacements: Sequence[Replacement]) -> Bounds | None:
    """What the markers and rows of a load cover; `None` if there are neither."""
    moments = "SELECT epoch_us(min(occurred_at)), epoch_us(max(occurred_at)), epoch_us(max(_window_end)) FROM "
    found = [span for replacement in replacements if (span := _span(execute, moments + replacement.source))]
    return Bounds(min(span.start for span in found), max(span.end for span in found)) if found else None


def _span(execute: Execute, query: str) -> Bounds | None:
    """The bounds of a query for a first moment, a last one and an end, which may be missing."""
    # as numbers, because the Python client needs a package of its own to read times with a zone
    for row in execute(query) or ():
        first, last, end = (None if value is None else _EPOCH + value * _INSTANT for value in row)
        if first and last:
            return Bounds(first, max(last + _INSTANT, end or first))
    return None


def _follow_moved(execute: Execute, replacements: Sequence[Replacement], messages: Replacement, bounds: Bounds) -> None:
    """Clears the way for messages that were at another time before: wherever their rows are, they go.

    Of a list that was not asked for the rows are kept, and go along with their message. So the rows of a list always lie at
    the time of their message, and only `messages` has to be searched for those that arrive.
    """
    rows = messages.rows("*")
    stored = f"(SELECT {_MESSAGE}, occurred_at AS moved_from FROM {messages.qualified} WHERE {{}})"
    execute(
        f"CREATE OR REPLACE TEMP TABLE moved_messages AS SELECT {_MESSAGE}, moved_from, occurred_at AS moved_to"
        f" FROM {rows} JOIN {stored.format(bounds.within)} USING ({_MESSAGE}) WHERE moved_from <> occurred_at"
        f" UNION ALL SELECT {_MESSAGE}, moved_from, occurred_at"
        f" FROM (SELECT * FROM {rows} ANTI JOIN {messages.held(bounds)} USING ({_MESSAGE}))"
        f" JOIN {stored.format(bounds.outside)} USING ({_MESSAGE})"
    )
    left = _span(execute, f"SELECT epoch_us(min(moved_from)), epoch_us(max(moved_from)), NULL FROM {_MOVED}")
    if left is not None:
        for replacement in replacements:
            execute(_take_along(replacement, left))
            execute(_delete_moved(replacement, left))
    execute(f"DROP TABLE {_MOVED}")


def _take_along(replacement: Replacement, left: Bounds) -> str:
    kept = f"(SELECT {_MESSAGE}, _dlt_load_id AS load_id FROM {replacement.source} WHERE _window_end IS NOT NULL)"
    return (
        f"UPDATE {replacement.qualified} AS stored SET occurred_at = moved_to, _dlt_load_id = load_id"
        f" FROM (SELECT * FROM {_MOVED} JOIN {kept} USING ({_MESSAGE})) AS moved"
        f" WHERE {left.within} AND moved.company_id = stored.company_id AND moved.message_id = stored.message_id"
    )


def _delete_moved(replacement: Replacement, left: Bounds) -> str:
    return (
        f"DELETE FROM {replacement.qualified} WHERE {left.within} AND ({_MESSAGE}) IN"
        f" (SELECT {_MESSAGE} FROM {_MOVED} ANTI JOIN {replacement.kept} USING ({_MESSAGE}))"
    )


def _delete_changed(replacement: Replacement, bounds: Bounds) -> str:
    source = replacement.rows(f"{replacement.key}, _row_hash AS new_hash")
    return (
        f"DELETE FROM {replacement.qualified} WHERE {bounds.within} AND rowid IN"
        f" (SELECT held_row FROM {replacement.held(bounds)} JOIN {source} USING ({replacement.key})"
        " WHERE _row_hash <> new_hash)"
    )


def _delete_gone(replacement: Replacement, bounds: Bounds) -> str:
    """What lies in a window that was read, passes its filters, and did not come back."""
    markers = f"(SELECT * FROM {replacement.source} WHERE _window_end > occurred_at)"
    matches = " AND ".join(
        f"(marker.{name} IS NULL OR marker.{name} = gone.{name})" for name in ("channel", "direction", "author__id")
    )
    return (
        f"DELETE FROM {replacement.qualified} WHERE {bounds.within} AND rowid IN"
        f" (SELECT held_row FROM (SELECT * FROM {replacement.held(bounds)}"
        f" ANTI JOIN {replacement.rows(replacement.key)} USING ({replacement.key})"
        f" ANTI JOIN {replacement.kept} USING ({_MESSAGE})) AS gone"
        f" SEMI JOIN {markers} AS marker ON (marker.company_id = gone.company_id"
        f" AND gone.occurred_at >= marker.occurred_at AND gone.occurred_at < marker._window_end AND {matches}))"
    )


def _insert_new(replacement: Replacement, bounds: Bounds) -> str:
    return (
        f"INSERT INTO {replacement.qualified} BY NAME SELECT * FROM {replacement.rows('*')}"
        f" ANTI JOIN {replacement.held(bounds)} USING ({replacement.key})"
    )


def _literal(moment: datetime) -> str:
    return f"TIMESTAMPTZ '{moment.isoformat()}'"
