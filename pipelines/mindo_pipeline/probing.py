"""Whether a destination really takes what a run writes: tried, and taken back."""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import dlt
from dlt.destinations.job_client_impl import SqlJobClientBase

from mindo.columns import DECLARED

from .errors import DestinationError, is_missing_right
from .pending import drop_staging

_ROLL_BACK_TABLES: Final = ("postgres", "redshift")
"""SQL dialects of databases that can roll back new schemas and tables. dlt says so of too many."""

_FOREIGN_TABLES: Final = """
SELECT tablename, tableowner, current_user FROM pg_tables
WHERE schemaname = %s AND tablename IN ({marks}) AND NOT pg_has_role(tableowner, 'USAGE')
"""


class _TakenBack(Exception):
    """Ends a transaction without a trace."""


def probe_writing(pipeline: dlt.Pipeline) -> bool:
    """Makes what a run makes: a staging dataset, tables, rows or files; nothing of it stays.

    Args:
        pipeline: With a staging dataset of its own, if it has one.

    Returns:
        Whether the dataset is there already.

    Raises:
        DestinationError: If a right is missing that has a name.
        Exception: If the destination can't be reached or written.
    """
    client: Any = pipeline.destination_client()
    if hasattr(client, "fs_client"):
        return _probe_files(client)
    if not isinstance(client, SqlJobClientBase):
        with client:
            return bool(client.is_storage_initialized())
    if (file := _sqlite_file(client)) is not None:
        return _probe_sqlite(file, client)
    if client.capabilities.sqlglot_dialect in _ROLL_BACK_TABLES:
        return _probe_in_transaction(client)
    return _probe_staging(pipeline, client)


def _probe_staging(pipeline: dlt.Pipeline, client: Any) -> bool:
    with client:
        is_there = bool(client.is_storage_initialized())
    # dlt takes a schema only as it is when it was stored
    client.schema = dlt.Schema.from_dict(dict(client.schema.to_dict()))
    try:
        with client, client.with_staging_dataset():
            client.initialize_storage()
            client.update_stored_schema()
    finally:
        with suppress(Exception):
            # whatever went wrong before is to be told
            drop_staging(pipeline)
    return is_there


def _probe_in_transaction(client: SqlJobClientBase) -> bool:
    sql: Any = client.sql_client
    probe = f"mindo_probe_{uuid.uuid4().hex[:8]}"
    with sql:
        # dlt would look where only those are listed to which the user has a right
        is_there = bool(sql.execute_sql("SELECT 1 FROM pg_namespace WHERE nspname = %s", sql.dataset_name))
        user, database = sql.execute_sql("SELECT current_user, current_database()")[0]
        if is_there and client.capabilities.sqlglot_dialect == "postgres":
            _find_foreign_tables(client, [*DECLARED, *client.schema.dlt_table_names()])
        new_schema = f"the user lacks the right to create schemas; GRANT CREATE ON DATABASE {database} TO {user}"
        new_table = (
            f"the user lacks the right to create tables in {sql.dataset_name};"
            f" GRANT USAGE, CREATE ON SCHEMA {sql.dataset_name} TO {user}"
        )
        with suppress(_TakenBack), sql.begin_transaction():
            with _needing(new_schema, client), sql.with_staging_dataset():
                sql.create_dataset()
                _make_table(sql, probe)
            with _needing(new_table if is_there else new_schema, client):
                if not is_there:
                    sql.create_dataset()
                _make_table(sql, probe)
            raise _TakenBack
    return is_there


def _make_table(sql: Any, name: str) -> None:
    table = sql.make_qualified_table_name(name)
    sql.execute_sql(f"CREATE TABLE {table} (probe int)")
    sql.execute_sql(f"INSERT INTO {table} VALUES (1)")


def _find_foreign_tables(client: SqlJobClientBase, tables: Sequence[str]) -> None:
    """New columns and indexes of a table are its owner's to add."""
    names = [client.schema.naming.normalize_table_identifier(table) for table in tables]
    sql = _FOREIGN_TABLES.format(marks=", ".join(["%s"] * len(names)))
    foreign = client.sql_client.execute_sql(sql, client.sql_client.dataset_name, *names)
    if foreign:
        table, owner, user = foreign[0]
        raise DestinationError(
            f"{client.config}: the tables of {client.sql_client.dataset_name}, such as {table}, belong to {owner};"
            f" GRANT {owner} TO {user}, or choose another dataset."
        )


@contextmanager
def _needing(right: str, client: SqlJobClientBase) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_missing_right(error):
            raise DestinationError(f"{client.config}: {right}.") from error
        raise


def _sqlite_file(client: Any) -> Path | None:
    """The file of a SQLite database, or `None` for any other destination."""
    credentials = client.config.credentials
    if getattr(client.capabilities, "sqlglot_dialect", None) != "sqlite" or not getattr(credentials, "database", None):
        return None
    return None if credentials.database == ":memory:" else Path(credentials.database)


def _probe_sqlite(file: Path, client: SqlJobClientBase) -> bool:
    # dlt keeps a dataset in a file of its own, beside the database
    of_dataset = file.with_name(f"{file.stem}__{client.sql_client.dataset_name}{file.suffix}")
    for known in (file, of_dataset):
        if known.exists():
            # SQLite itself would make a missing file
            with closing(sqlite3.connect(f"{known.absolute().as_uri()}?mode=rw", uri=True, timeout=1)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
    _probe_folder(file.absolute().parent, client)
    return of_dataset.exists()


def _probe_files(client: Any) -> bool:
    is_there = bool(client.is_storage_initialized())
    if client.is_local_filesystem:
        # dlt makes missing folders
        wanted = Path(client.dataset_path).absolute()
        _probe_folder(next(folder for folder in (wanted, *wanted.parents) if folder.exists()), client)
        return is_there
    probe = f"{client.dataset_path}mindo_probe_{uuid.uuid4().hex}"
    client.fs_client.pipe_file(probe, b"probe")
    client.fs_client.rm_file(probe)
    return is_there


def _probe_folder(folder: Path, client: Any) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="mindo-probe-"):
            return
    except OSError as error:
        raise DestinationError(f"{client.config}: the folder {folder} is missing or can't be written.") from error
