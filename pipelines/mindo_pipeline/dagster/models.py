"""The dbt models as assets downstream of the tables, built by the same code as `mindo dbt build`: its profile, its lock.

dagster-dbt tells the assets and checks that are in the manifest. It does not run dbt: it would log what dbt prints, and errors of
databases quote rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, dbt_assets
from dagster_dbt.asset_utils import get_asset_check_key_for_test, get_subset_selection_for_context

from ..console import clean, counted
from ..exit_codes import ExitCode
from ..transforming.commands import Building, models_built, prepare_building
from ..transforming.process import Invocation
from ..transforming.results import Result, build_results
from .failures import failure, retry_policy, told_in_one_line
from .settings import Settings

MODELS: Final = "mindo_models"
"""The name of the step that builds."""

_GROUP: Final = "mindo_models"
_MOST_TOLD: Final = 10


class _Translator(DagsterDbtTranslator):  # type: ignore[misc, unused-ignore]
    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """All models in one group."""
        return _GROUP


def make_models(manifest: Mapping[str, Any], settings: Settings) -> dg.AssetsDefinition:
    """The models of the manifest.

    Args:
        manifest: Of the package.
        settings: How a build is tried again.
    """
    translator = _Translator()

    @dbt_assets(manifest=manifest, name=MODELS, dagster_dbt_translator=translator, retry_policy=retry_policy(settings))
    def mindo_models(context: dg.AssetExecutionContext) -> Iterator[Any]:
        events: list[Any] = []
        unbuilt: list[str] = []
        with told_in_one_line():
            building = prepare_building(Settings.resolve().warehouse())
            building.warehouse.on_wait = lambda: context.log.info("waiting for another build or load to end")
            selected, indirect = get_subset_selection_for_context(
                context=context,
                manifest=manifest,
                select=None,
                exclude=None,
                selector=None,
                dagster_dbt_translator=translator,
                current_dbt_indirect_selection_env=None,
            )
            options = [*selected, *(["--indirect-selection", indirect] if indirect else [])]
            with models_built(Building(building.warehouse, building.variables, options=options)) as invocation:
                for unique_id, result in _ended(invocation):
                    if event := _event(context, manifest, translator, unique_id, result):
                        events.append(event)
                    if result.is_model and (result.is_broken or result.is_skipped):
                        unbuilt.append(f"{result.name}: {result.reason or result.status}")
        yield from events
        if unbuilt:
            told = "; ".join(unbuilt[:_MOST_TOLD])
            line = f"dbt: {counted(len(unbuilt), 'model')} could not be built: {told}. See `mindo dbt build`."
            raise failure(ExitCode.DBT, line)

    return mindo_models


def _ended(invocation: Invocation) -> Iterator[tuple[str, Result]]:
    raw = invocation.document("run_results.json").get("results", [])
    for node, result in zip(raw, build_results(invocation), strict=True):
        yield str(node["unique_id"]), result


def _event(
    context: dg.AssetExecutionContext,
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
    unique_id: str,
    result: Result,
) -> Any:
    """What Dagster is told of a model or a test; nothing of what was not built or not tested, or not asked for."""
    if result.is_model:
        key = translator.get_asset_spec(manifest, unique_id, None).key
        if not result.is_done or key not in context.selected_asset_keys:
            return None
        rows = {} if result.rows is None else {"rows_written": result.rows}
        return dg.Output(
            None,
            output_name=key.to_python_identifier(),
            metadata={"seconds": result.seconds, "status": result.status, **rows},
        )
    check = get_asset_check_key_for_test(manifest, translator, unique_id, None)
    if result.is_skipped or check is None or check not in context.selected_asset_check_keys:
        return None
    severity = dg.AssetCheckSeverity.WARN if result.is_warning else dg.AssetCheckSeverity.ERROR
    found = {} if result.found is None else {"rows_found": result.found}
    reason = {} if result.reason is None else {"reason": clean(result.reason)}
    return dg.AssetCheckResult(
        passed=result.is_done,
        asset_key=check.asset_key,
        check_name=check.name,
        severity=severity,
        metadata={"status": result.status, "file": result.file, **found, **reason},
    )
