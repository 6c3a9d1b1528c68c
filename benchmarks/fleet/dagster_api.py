"""What the fleet asks of Dagster, through the GraphQL API of its UI, as a person or a script would."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = Any
_SECONDS: Final = 60.0

_LAUNCH_BACKFILL: Final = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on PartitionKeysNotFoundError { message }
  }
}"""
_BACKFILL: Final = """
query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status error { message } } } }
"""
_RUNS: Final = """
query Runs($filter: RunsFilter) {
  runsOrError(filter: $filter, limit: 5000) {
    ... on Runs { results { id status startTime endTime rootRunId parentRunId tags { key value } } }
  }
}"""
_ASSET: Final = """
query Asset($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode { partitionStats { numMaterialized } partitionKeysByDimension { name partitionKeys } }
  }
}"""


class DagsterRefused(Exception):
    """Dagster did not do what it was asked for; says what it answered."""


@dataclass(frozen=True)
class Run:
    """A run as Dagster knows it; times are seconds since 1970, `None` as long as it did not start or end."""

    run_id: str
    status: str
    started: float | None
    ended: float | None
    parent: str | None
    tags: Mapping[str, str]

    @property
    def partition(self) -> str:
        """Company and month, such as `42|2026-04`."""
        # a run of an asset's backfill has a range, though of one partition
        return self.tags.get("dagster/partition") or self.tags.get("dagster/asset_partition_range_start", "")


class DagsterApi:
    """The API of a running UI.

    Args:
        url: Of the UI.
        assets: Keys of the assets that a run loads together, in their parts.
    """

    def __init__(self, url: str, assets: Sequence[Sequence[str]]) -> None:
        self._url = url
        self._assets = [{"path": list(asset)} for asset in assets]

    def ask(self, query: str, **variables: Json) -> Json:
        """Sends a query.

        Raises:
            DagsterRefused: If it has errors.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self._url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            document = json.load(answer)
        if document.get("errors"):
            raise DagsterRefused(document["errors"][0]["message"])
        return document["data"]

    def companies(self) -> set[str]:
        """The companies that have partitions."""
        dimensions = {part["name"]: part["partitionKeys"] for part in self._asset()["partitionKeysByDimension"]}
        return set(dimensions["company"])

    def materialized(self) -> int:
        """How many partitions of the first asset are materialised."""
        return int(self._asset()["partitionStats"]["numMaterialized"])

    def _asset(self) -> Json:
        return self.ask(_ASSET, key=self._assets[0])["assetNodeOrError"]

    def backfill(self, partitions: Sequence[str], tags: Mapping[str, str]) -> str:
        """Launches a backfill of these partitions, and gives its id.

        Raises:
            DagsterRefused: If there is no such asset or partition.
        """
        params = {
            "assetSelection": self._assets,
            "partitionNames": list(partitions),
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        answer = self.ask(_LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        if "backfillId" not in answer:
            raise DagsterRefused(f"{answer['__typename']}: {answer.get('message')}")
        return str(answer["backfillId"])

    def backfill_status(self, backfill: str) -> str:
        """Such as `REQUESTED` or `COMPLETED_SUCCESS`."""
        return str(self.ask(_BACKFILL, id=backfill)["partitionBackfillOrError"]["status"])

    def runs_of(self, backfill: str) -> list[Run]:
        """All runs of a backfill, retries as well."""
        wanted = {"tags": [{"key": "dagster/backfill", "value": backfill}]}
        return [
            Run(
                run["id"],
                run["status"],
                run["startTime"],
                run["endTime"],
                run["parentRunId"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in self.ask(_RUNS, filter=wanted)["runsOrError"]["results"]
        ]
