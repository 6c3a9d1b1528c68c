"""The tables as one asset of Dagster, a partition a batch. Their keys are those that dagster-dbt gives the package's sources."""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from mindo import ConfigurationError, Options
from mindo.columns import CHILD_TABLES, COMPANIES, EXPORT_WINDOWS, MESSAGES, PRIMARY_KEYS

from ..batches import BatchLoad, load_batch
from ..console import clean, counted
from ..exit_codes import ExitCode
from .failures import failure, retry_policy, told_in_one_line
from .partitions import Partition, make_partitions, resolve_company
from .settings import Settings

POOL: Final = "mindo_api"
GROUP: Final = "mindo"
LOAD: Final = "mindo_tables"
"""The name of the step that loads."""

_SOURCE: Final = "mindo"
_DESCRIPTIONS: Final = {
    MESSAGES: "A row per message.",
    **{name: f"A row per item of a message's `{part}`." for part, name in CHILD_TABLES.items()},
    EXPORT_WINDOWS: "The ledger: what was read, when, and that it was whole.",
    COMPANIES: "Names and time zones.",
}
TABLES: Final = tuple(_DESCRIPTIONS)


class Load(dg.Config):  # type: ignore[misc, unused-ignore]
    """How much of a partition a run reads; by default all of it."""

    only_new: bool = False
    since: str | None = None


def load_config(**config: Any) -> dict[str, Any]:
    """A run's configuration that says how much is read."""
    return {"ops": {LOAD: {"config": config}}}


def table_key(table: str) -> dg.AssetKey:
    """The asset of a table."""
    return dg.AssetKey([_SOURCE, table])


def make_tables(options: Options, settings: Settings) -> dg.AssetsDefinition:
    """The asset with a key for every table.

    Args:
        options: Where the history begins; whatever else a run needs it resolves itself.
        settings: How loads are tried again.
    """

    @dg.multi_asset(
        name=LOAD,
        specs=[
            dg.AssetSpec(
                table_key(table),
                description=description,
                group_name=GROUP,
                kinds={"dlt"},
                metadata={"primary_key": ", ".join(PRIMARY_KEYS[table])},
            )
            for table, description in _DESCRIPTIONS.items()
        ],
        partitions_def=make_partitions(options),
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
        retry_policy=retry_policy(settings),
        pool=POOL,
        can_subset=False,
    )
    def mindo_tables(context: dg.AssetExecutionContext, config: Load) -> Iterator[Any]:
        partition = Partition.of(context.partition_key)
        with told_in_one_line():
            own = Settings.resolve()
            _require_turns(context.instance, own)
            current, company = resolve_company(partition.company_id)
            loaded = load_batch(
                partition.batch(company, current, config.only_new, config.since),
                current,
                own.destination,
                own.dataset,
                own.load_messages,
                on_wait=lambda: context.log.info("waiting for another load to end"),
            )
        context.log.info(_line(loaded))
        if loaded.code is not ExitCode.COMPLETE:
            # of a failure that is tried again Dagster keeps the text only
            for reason in loaded.reasons:
                context.log.warning(clean(reason))
            raise failure(loaded.code, _failed_line(loaded), _failed_metadata(loaded))
        is_whole = not config.only_new and config.since is None
        for table in TABLES:
            yield dg.MaterializeResult(asset_key=table_key(table), metadata=_metadata(loaded, table, is_whole))

    return mindo_tables


def _require_turns(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Refuses to load beside others where nothing at the destination keeps loads apart.

    Raises:
        ConfigurationError: If the pool lets several loads through.
    """
    warehouse = settings.warehouse()
    if warehouse.can_be_shared:
        return
    storage = instance.event_log_storage
    slots = storage.get_concurrency_info(POOL).slot_count if storage.supports_global_concurrency_limits else None
    if slots != 1:
        raise ConfigurationError(
            f"pool {POOL}: must have one slot, as {warehouse.destination} has no locks and loads at the same time would corrupt"
            f" each other; dagster instance concurrency set {POOL} 1."
        )


def _line(loaded: BatchLoad) -> str:
    outcome = loaded.outcome
    return (
        f"{len(outcome.complete):,} of {counted(len(outcome.planned), 'window')} loaded:"
        f" {counted(outcome.rows.get(MESSAGES, 0), 'message')} read, {loaded.written:,} of them new or changed."
    )


def _failed_line(loaded: BatchLoad) -> str:
    left, windows = len(loaded.outcome.incomplete), counted(len(loaded.outcome.planned), "window")
    if loaded.code is ExitCode.GUARD:
        advice = (
            "would lose many messages or could not be read, and stayed as they were; if the messages are really gone, run"
            " `mindo run --accept-deletions` for them"
        )
    else:
        advice = "could not be read whole; the rest is loaded"
    return f"{left:,} of {windows} {advice}. {' '.join(loaded.reasons[:1])}"


def _metadata(loaded: BatchLoad, table: str, is_whole: bool) -> dict[str, Any]:
    outcome = loaded.outcome
    windows: dict[str, Any] = {
        "windows": len(outcome.complete),
        "windows_incomplete": len(outcome.incomplete),
        **({"watermark": dg.MetadataValue.timestamp(loaded.watermark)} if loaded.watermark else {}),
    }
    reads = [window.read for window in outcome.complete]
    if table == EXPORT_WINDOWS:
        return windows | {
            "requests": sum(read.requests for read in reads),
            "retries": sum(read.retries for read in reads),
            "bytes": sum(read.bytes for read in reads),
            "run_id": outcome.run_id,
        }
    if table == COMPANIES:
        return {}
    rows = outcome.rows.get(table, 0)
    changes = [f"{change.column} ({change.data_type})" for change in outcome.changes if change.table == table]
    return (
        windows
        | {"rows_read": rows}
        # of a part of the month it would be too few
        | ({"dagster/partition_row_count": rows} if is_whole else {})
        | ({"messages_written": loaded.written} if table == MESSAGES else {})
        | ({"schema_changes": clean(", ".join(changes))} if changes else {})
    )


def _failed_metadata(loaded: BatchLoad) -> dict[str, Any]:
    return {
        "windows": len(loaded.outcome.complete),
        "windows_incomplete": len(loaded.outcome.incomplete),
    }
