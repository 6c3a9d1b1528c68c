"""What it takes, after rows were deleted, until their bytes are gone as well: that depends on the engine.

A `DELETE` only marks rows as deleted; the text stays in the file until its place is used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation

from mindo.sql import identifier, literal

from .erasing import ERASED_TABLES
from .model_tables import tables_of_conversations
from .unfinished import sync_folder
from .warehouse import Warehouse

COPY_SUFFIX: Final = ".compacting"
_COPY: Final = "_mindo_compacting"


class NotReclaimed(Exception):
    """Deleted rows may still be in the files of the database: why, and what to do about it."""


class Reclaiming(NamedTuple):
    """How an engine is made to give up what was deleted.

    Attributes:
        reclaim: Does it. Needs `Warehouse.writing`; raises `NotReclaimed`.
        done: What was done, for people.
    """

    reclaim: Callable[[Warehouse], None]
    done: str


def compact(warehouse: Warehouse) -> None:
    """Writes a DuckDB file anew from the rows that are there, everything else in it included, and puts it in place of the old.

    Until the last step the old file stays as it is, and no other process can have opened it in between.

    Raises:
        NotReclaimed: If the copy can't be made, or is not the same.
    """
    assert warehouse.file is not None
    file = warehouse.file.resolve()
    copy = file.with_name(file.name + COPY_SUFFIX)
    _remove(copy)
    size, free = file.stat().st_size, shutil.disk_usage(file.parent).free
    if size > free:
        raise NotReclaimed(
            f"the copy needs up to {_megabytes(size)} beside it and {_megabytes(free)} are free; free some space"
        )
    try:
        with warehouse.pipeline.sql_client() as client:
            _copy_database(client.native_connection, copy)
            before = file.stat()
        with _held(file, before):
            shutil.copymode(file, copy)
            with contextlib.suppress(PermissionError):
                os.chown(copy, before.st_uid, before.st_gid)
            copy.replace(file)
        sync_folder(file.parent)
    except (duckdb.Error, DatabaseException) as error:
        # the text of an error can quote a row
        raise NotReclaimed(
            f"something in it can't be copied ({type(error).__name__}); drop what DuckDB can't copy"
        ) from error
    except OSError as error:
        raise NotReclaimed(f"its folder can't be written ({error.strerror}); make room or make it writable") from error
    finally:
        _remove(copy)


def rewrite(warehouse: Warehouse) -> None:
    """Makes a database server, or SQLite, write the four tables anew, what it keeps of their staging dataset, and dbt's models.

    Raises:
        NotReclaimed: If that fails.
    """
    try:
        with warehouse.pipeline.sql_client() as client:
            statement = _REWRITES[_dialect(warehouse)]
            for scope in (contextlib.nullcontext(), client.with_staging_dataset()):
                with scope:
                    names = [client.make_qualified_table_name(table) for table in ERASED_TABLES]
                    dataset = client.fully_qualified_dataset_name()
                    there = client.has_dataset()
                    for sql in dict.fromkeys(statement.format(table=name, dataset=dataset) for name in names if there):
                        with contextlib.suppress(DatabaseUndefinedRelation):
                            client.execute_sql(sql)
            for model in tables_of_conversations(warehouse):
                client.execute_sql(statement.format(table=model.sql))
    except DatabaseException as error:
        raise NotReclaimed(f"writing the four tables anew failed ({type(error).__name__}); do it by hand") from error


_REWRITES: Final = {
    # a plain VACUUM would only allow to write over the rows; FULL leaves their files behind
    "postgres": "VACUUM (FULL, ANALYZE) {table}",
    "mysql": "OPTIMIZE TABLE {table}",
    "sqlite": "VACUUM {dataset}",
}
"""Statements that write a table or a whole dataset anew, by SQL dialect."""


def reclaiming_of(warehouse: Warehouse) -> Reclaiming | None:
    """How the warehouse's engine gives up what was deleted; `None` where that is left to the engine."""
    if warehouse.file is not None:
        return Reclaiming(compact, "the file was written anew without them")
    if _dialect(warehouse) in _REWRITES:
        statement = _REWRITES[_dialect(warehouse)].split(" {")[0]
        return Reclaiming(rewrite, f"the tables were written anew without them ({statement})")
    return None


def _dialect(warehouse: Warehouse) -> str:
    return warehouse.pipeline.destination_client().capabilities.sqlglot_dialect or ""


def _copy_database(connection: duckdb.DuckDBPyConnection, copy: Path) -> None:
    name, tags = connection.execute(
        "SELECT database_name, tags FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchone() or ("", {})
    version = f" (STORAGE_VERSION {literal(tags['storage_version'].rstrip('+'))})" if "storage_version" in tags else ""
    # a change that is still in the write-ahead log only would otherwise stay there
    connection.execute("CHECKPOINT")
    connection.execute(f"ATTACH {literal(str(copy))} AS {identifier(_COPY)}{version}")
    try:
        connection.execute(f"COPY FROM DATABASE {identifier(name)} TO {identifier(_COPY)}")
        connection.execute(f"CHECKPOINT {identifier(_COPY)}")
        if _inventory(connection, name) != _inventory(connection, _COPY):
            raise NotReclaimed("the copy lacks something of it; the old file stays")
    finally:
        connection.execute(f"DETACH {identifier(_COPY)}")


def _inventory(connection: duckdb.DuckDBPyConnection, database: str) -> dict[tuple[Any, ...], int]:
    """Everything that a database holds, as its catalogue describes it, and the rows of each table."""
    queries = (
        "SELECT 'table', schema_name, table_name, sql FROM duckdb_tables() WHERE NOT temporary AND NOT internal AND",
        "SELECT 'view', schema_name, view_name, sql FROM duckdb_views() WHERE NOT temporary AND NOT internal AND",
        "SELECT 'index', schema_name, index_name, sql FROM duckdb_indexes() WHERE",
        "SELECT 'sequence', schema_name, sequence_name, sql FROM duckdb_sequences() WHERE NOT temporary AND",
        "SELECT 'type', schema_name, type_name, CAST(labels AS VARCHAR) FROM duckdb_types() WHERE NOT internal AND",
        "SELECT 'macro', schema_name, function_name, macro_definition FROM duckdb_functions() WHERE NOT internal AND",
        "SELECT 'schema', schema_name, '', sql FROM duckdb_schemas() WHERE NOT internal AND",
    )
    found: dict[tuple[Any, ...], int] = {}
    for sql in queries:
        for row in connection.execute(f"{sql} database_name = ?", [database]).fetchall():
            found[row] = 0
            if row[0] == "table":
                path = ".".join(map(identifier, (database, *row[1:3])))
                found[row] = (connection.execute(f"SELECT count(*) FROM {path}").fetchone() or (0,))[0]
    return found


@contextmanager
def _held(file: Path, before: os.stat_result) -> Iterator[None]:
    """Keeps other processes from opening a database while its file is replaced.

    Raises:
        NotReclaimed: If another process has it open, or has written to it since.
    """
    with file.open("rb+") as held:
        try:
            # the lock that DuckDB itself takes
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotReclaimed("another process has opened it; close it") from None
        now = file.stat()
        if (now.st_ino, now.st_mtime_ns, now.st_size) != (before.st_ino, before.st_mtime_ns, before.st_size):
            raise NotReclaimed("another process has written to it meanwhile")
        yield


def _remove(copy: Path) -> None:
    for path in (copy, copy.with_name(f"{copy.name}.wal")):
        path.unlink(missing_ok=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
