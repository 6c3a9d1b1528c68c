"""What a killed run left behind in dlt's local folder: packages whose load had begun, or was about to.

dlt resumes a package job by job, which a kill at the wrong moment defeats: a file that was copied to the staging dataset but
not noted as copied is copied again, and its rows are inserted twice; a package that was half moved can't be loaded ever.
So such a package is taken back to its beginning, with an empty staging dataset, and loaded anew: loading it twice gives what
loading it once does, also where its windows were replaced already. One that the destination refuses would stand in the way of
every later run: it is given up, and its windows are noted, to be read again.

Where loads are only appended, what a killed run appended does not count, as its load never finished; loaded anew, dlt would
append it once more. So there nothing is finished: its windows are read again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import dlt
import pyarrow.parquet as pq
from dlt.common.storages import PackageStorage
from dlt.common.versioned_state import json_decode_state
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation, DestinationConnectionError

from mindo import Selection, Window
from mindo.columns import EXPORT_WINDOWS
from mindo.settings import ALL
from mindo.strategies import only_appends

from .errors import causes
from .unfinished import Unfinished

_STATE_TABLE: Final = "_dlt_pipeline_state"
_LOADS_TABLE: Final = "_dlt_loads"
_FOLLOWUP_SUFFIXES: Final = (".sql", ".reference")
_ROWS_SUFFIX: Final = ".parquet"
_WINDOW: Final = ("company_id", "window_start", "window_end")
_STAGING: Final = "_staging_"
_DIGEST_LENGTH: Final = 8
_SELECTION: Final = ("channel", "direction", "agent_ids", "include")


def finish_packages(pipeline: dlt.Pipeline, sources: Mapping[str, Any], unfinished: Unfinished) -> None:
    """Loads the packages that continue what the destination holds; all others are left, to be dropped.

    A package continues it if it was made from the very state that the destination has. It does not where the destination was
    deleted, restored or loaded from elsewhere since: then its state would claim windows that are not there. Of a package that
    was not normalized yet the destination has nothing, and dlt may lack its new columns: its windows are read again.

    Args:
        pipeline: Whose packages.
        sources: The state of the sources in the destination.
        unfinished: Is told the windows of packages that the destination refuses; these packages are left as well.

    Raises:
        Exception: If the destination can't be reached, another process has it open, or the windows can't be noted. Then
            all packages have to stay for the next run.
    """
    load_ids = pipeline.list_normalized_load_packages()
    if not load_ids or only_appends(pipeline.destination_client().capabilities):
        return
    drop_staging(pipeline)
    packages = pipeline._get_load_storage().normalized_packages
    if all(_continues(packages, load_id, sources) and not _is_loaded(pipeline, load_id) for load_id in load_ids):
        for load_id in load_ids:
            _take_back(pipeline, packages, load_id)
        try:
            pipeline.load()
        except Exception as error:
            if _is_unreachable(error):
                raise
            for load_id in load_ids:
                for selection, windows in _windows(packages, load_id, error).items():
                    unfinished.add(windows, selection)
            drop_staging(pipeline)


def _is_unreachable(error: BaseException) -> bool:
    """Whether the destination could not be opened, so that nothing is known of the package; by type, as texts can quote rows."""
    return any(isinstance(link, DestinationConnectionError) for link in causes(error))


def _windows(packages: PackageStorage, load_id: str, refusal: Exception) -> dict[Selection, list[Window]]:
    """What a package holds, by its ledger rows.

    Raises:
        Exception: The refusal itself, if they are in files that can't be read here.
    """
    windows: dict[Selection, list[Window]] = {}
    folder = Path(packages.storage.make_full_path(packages.get_package_path(load_id)))
    for job in folder.glob(f"*_jobs/{EXPORT_WINDOWS}.*"):
        if job.suffix in _FOLLOWUP_SUFFIXES:
            continue
        if job.suffix != _ROWS_SUFFIX:
            raise refusal
        for row in pq.read_table(job, columns=[*_WINDOW, *_SELECTION]).to_pylist():
            company_id, start, end = (row[name] for name in _WINDOW)
            channel, direction, agents, include = (row[name] for name in _SELECTION)
            selection = Selection.parse(channel, direction, None if agents == ALL else agents, include or "none")
            windows.setdefault(selection, []).append(Window(start, end, company_id))
    return windows


def _continues(packages: PackageStorage, load_id: str, sources: Mapping[str, Any]) -> bool:
    if not packages.can_restore_pipeline_state(load_id):
        return False
    state, _ = packages.load_pipeline_state(load_id)
    made_from = json_decode_state(state).get("sources", {}) if state else {}
    return bool(made_from == sources)


def _is_loaded(pipeline: dlt.Pipeline, load_id: str) -> bool:
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(_LOADS_TABLE)
        try:
            return bool(client.execute_sql(f"SELECT 1 FROM {table} WHERE load_id = %s", load_id))
        except DatabaseUndefinedRelation:
            return False


def _take_back(pipeline: dlt.Pipeline, packages: PackageStorage, load_id: str) -> None:
    """Makes all jobs of a package new again; killed in between, it can be repeated."""
    # dlt makes the tables, and empties the staging dataset, only if there is a schema update to apply
    packages.save_schema_updates(load_id, {})
    folder = Path(packages.storage.make_full_path(packages.get_package_path(load_id)))
    for note in (folder / PackageStorage.PENDING_TRANSITIONS_FOLDER).glob("*"):
        note.unlink()
    for state in (PackageStorage.STARTED_JOBS_FOLDER, PackageStorage.COMPLETED_JOBS_FOLDER):
        for job in (folder / state).glob("*"):
            job.rename(folder / PackageStorage.NEW_JOBS_FOLDER / job.name)
    for job in (folder / PackageStorage.NEW_JOBS_FOLDER).glob("*"):
        # made anew when the files that it is about are there
        if job.suffix in _FOLLOWUP_SUFFIXES:
            job.unlink()
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(_STATE_TABLE)
        try:
            client.execute_sql(f"DELETE FROM {table} WHERE _dlt_load_id = %s", load_id)
        except DatabaseUndefinedRelation:
            return


def private_staging_layout(digest: str) -> str:
    """The layout, in dlt's form, of the name of a staging dataset that one writer has for itself.

    Args:
        digest: Tells the writer from all others; hexadecimal.
    """
    return f"%s{_STAGING}{digest[:_DIGEST_LENGTH]}"


def drop_staging_of_others(client: Any) -> None:
    """Drops the private staging datasets that killed writers left on a server; rows of messages are in them.

    Args:
        client: dlt's client of a PostgreSQL destination. Nobody else may be loading the dataset.
    """
    sql = client.sql_client
    rows = sql.execute_sql(
        "SELECT nspname FROM pg_namespace WHERE nspname ~ %s AND nspname <> %s",
        f"^{re.escape(sql.dataset_name)}{_STAGING}[0-9a-f]{{{_DIGEST_LENGTH}}}$",
        sql.staging_dataset_name,
    )
    for (name,) in rows:
        # its owner, whose run has just ended, may be dropping it too
        with sql.with_alternative_dataset_name(name), suppress(DatabaseException):
            sql.drop_dataset()


def drop_staging(pipeline: dlt.Pipeline) -> None:
    """Drops the staging dataset, if there is one."""
    with pipeline.sql_client() as client, client.with_staging_dataset():
        if client.has_dataset():
            client.drop_dataset()
