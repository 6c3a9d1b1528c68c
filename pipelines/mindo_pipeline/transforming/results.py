"""What dbt did, from the files that it writes. Texts of databases can quote rows: only what kind of error it was is taken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from .process import Invocation
from .project import find_project

UNKNOWN_AGE: Final = "runtime error"
"""How a table ends whose age can't be told."""
_MODELS: Final = frozenset({"model", "seed", "snapshot"})
_BROKEN: Final = frozenset({"error", "fail", UNKNOWN_AGE, "partial success"})
_WARNED: Final = frozenset({"warn"})
_SKIPPED: Final = frozenset({"skipped"})
_PASSED: Final = frozenset({"success", "pass"})
_OWN_LINE: Final = re.compile(r"^Compilation Error[^\n]*\n\s*mindo: ([^\n]+)")
_COMPILATION_ERROR: Final = "Compilation Error"
_KIND: Final = re.compile(r"\s*([A-Za-z][A-Za-z ]{0,40}? Error)\b")
_BEFORE_VALUES: Final = re.compile(r"""[^"':\n\d(]{1,80}""")
_DUCKDB_PREFIX: Final = "Runtime Error"


@dataclass(frozen=True)
class Result:
    """A model or a test, and how it ended.

    Attributes:
        name: Its name.
        is_model: Whether it is a model; otherwise it is a test.
        file: Where it is written, as a path in the project.
        status: dbt's word for how it ended.
        schema: Where a model is built.
        rows: Rows that a statement wrote, if the database says.
        seconds: How long it took.
        found: Rows that a test found.
        reason: What kind of error it was.
    """

    name: str
    is_model: bool
    file: str
    status: str
    schema: str | None
    rows: int | None
    seconds: float
    found: int | None
    reason: str | None

    @property
    def is_broken(self) -> bool:
        """Whether a model could not be built, or a test failed."""
        return self.status in _BROKEN

    @property
    def is_warning(self) -> bool:
        """Whether a test found something that is no failure."""
        return self.status in _WARNED

    @property
    def is_done(self) -> bool:
        """Whether a model was built, or a test passed."""
        return self.status in _PASSED

    @property
    def is_skipped(self) -> bool:
        """Whether it was left out because something before it failed."""
        return self.status in _SKIPPED

    @property
    def what(self) -> str:
        """The line that names it."""
        kind = "model" if self.is_model else "test"
        found = f"{self.found:,} row{'' if self.found == 1 else 's'}" if self.found is not None else None
        told = self.reason or found
        return f"{kind} {self.name} ({self.file})" + (f": {told}" if told else "")

    @property
    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        where = {"schema": self.schema} if self.is_model else {}
        told = {"rows": self.rows} if self.is_model else {"found": self.found}
        return {"name": self.name, **where, "file": self.file, "status": self.status, **told, "seconds": self.seconds,
                "error": self.reason}  # fmt: skip


@dataclass(frozen=True)
class SourceFreshness:
    """How old a table is that the connector loads.

    Attributes:
        name: The table.
        status: dbt's word: pass, warn, error or runtime error.
        loaded_at: Up to when it is loaded, ISO-8601.
        seconds: How long ago that is.
    """

    name: str
    status: str
    loaded_at: str | None
    seconds: float | None

    @property
    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"table": self.name, "status": self.status, "loaded_at": self.loaded_at, "age_seconds": self.seconds}


def build_results(invocation: Invocation) -> list[Result]:
    """What was built and tested, in the order in which it ended."""
    nodes = invocation.document("manifest.json").get("nodes", {})
    return [
        _result(nodes.get(result["unique_id"], {}), result)
        for result in invocation.document("run_results.json").get("results", [])
    ]


def _result(node: dict[str, Any], result: dict[str, Any]) -> Result:
    unique_id, status = str(result["unique_id"]), str(result["status"])
    rows = (result.get("adapter_response") or {}).get("rows_affected")
    is_model = node.get("resource_type", unique_id.split(".")[0]) in _MODELS
    return Result(
        name=str(node.get("alias" if is_model else "name") or unique_id),
        is_model=is_model,
        file=f"{find_project().name}/{node.get('original_file_path', '')}",
        status=status,
        schema=node.get("schema"),
        # a view has none
        rows=int(rows) if is_model and isinstance(rows, int) and rows >= 0 else None,
        seconds=round(float(result.get("execution_time") or 0), 3),
        found=result.get("failures") if not is_model else None,
        reason=error_kind(str(result.get("message") or "")) if status in {"error", UNKNOWN_AGE} else None,
    )


def freshness_results(invocation: Invocation) -> list[SourceFreshness]:
    """How old the tables are."""
    found = []
    for result in invocation.document("sources.json").get("results", []):
        age = result.get("max_loaded_at_time_ago_in_s")
        found.append(
            SourceFreshness(
                str(result["unique_id"]).split(".")[-1],
                str(result["status"]),
                result.get("max_loaded_at"),
                None if age is None else round(float(age), 1),
            )
        )
    # a table whose query failed is in no file
    known = {source.name for source in found}
    failed = (str(data.get("table_name")) for data in invocation.events_named("LogFreshnessResult"))
    return found + [SourceFreshness(name, UNKNOWN_AGE, None, None) for name in failed if name not in known]


def wrong_setting(invocation: Invocation) -> str | None:
    """What the project itself says is wrong with one of its variables."""
    results = invocation.document("run_results.json").get("results", [])
    texts = [invocation.failure, *(result.get("message") for result in results)]
    found = [match[1].strip() for text in texts if text and (match := _OWN_LINE.match(text))]
    return found[0] if found else None


def error_kind(text: str) -> str:
    """The kind of an error, without anything that a row could stand in.

    Args:
        text: dbt's: a line that says where it was, then what the database or dbt says.
    """
    head, *lines = (line.strip() for line in text.splitlines() if line.strip()) if text.strip() else ("",)
    told = lines[0] if lines else head
    if head.startswith(_COMPILATION_ERROR):
        # dbt's own words on the project
        return f"{_COMPILATION_ERROR}: {told}" if lines else _COMPILATION_ERROR
    if found := _KIND.match(told):
        return found[1]
    if lines and not head.startswith(_DUCKDB_PREFIX) and (found := _BEFORE_VALUES.match(told)):
        return found[0].strip()
    return found[1] if (found := _KIND.match(head)) else "an error"
