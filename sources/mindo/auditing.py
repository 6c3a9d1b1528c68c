"""What somebody did by hand: a row of `audit_log`, in one load with the change of the state that it speaks of."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.extract import DltResource

from .columns import AUDIT_LOG, CHILD_TABLES, DECLARED, MESSAGES
from .coverage import Coverage
from .replacing import arrow_schema, make_table_hints
from .settings import SOURCE_NAME

Action = Literal["forget_contact", "forget_conversation", "rewind_state", "forget_state"]

_COUNTS: Final = {MESSAGES: MESSAGES, **CHILD_TABLES}
"""Columns that count rows, and the table whose rows they count."""


@dataclass(frozen=True)
class AuditEntry:
    """A row of `audit_log`. It never holds any content.

    Attributes:
        action: What was done.
        subject: The anonymised id that was forgotten, or what was done to the state.
        company_id: The company; `None` if the warehouse held nothing of the subject.
        rows: Rows that are erased, by table; empty where nothing can be erased.
        requested_at: When it was asked for, UTC.
        finished_at: When nothing was left to do, UTC.
        audit_id: Id of the entry; loading it again replaces the row.
    """

    action: Action
    subject: str
    company_id: int | None
    requested_at: datetime
    rows: Mapping[str, int] = field(default_factory=dict)
    finished_at: datetime | None = None
    audit_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> AuditEntry:
        """The entry that a row of the table holds."""
        return cls(
            columns["action"],
            columns["subject"],
            columns["company_id"],
            columns["requested_at"],
            {table: columns[name] for name, table in _COUNTS.items() if columns[name] is not None},
            columns["finished_at"],
            columns["audit_id"],
        )

    def columns(self) -> dict[str, Any]:
        """The row of the table, without what dlt adds."""
        return {
            "audit_id": self.audit_id,
            "action": self.action,
            "subject": self.subject,
            "company_id": self.company_id,
            **{name: self.rows.get(table) for name, table in _COUNTS.items()},
            "requested_at": self.requested_at,
            "finished_at": self.finished_at,
        }


@dlt.source(name=SOURCE_NAME)
def audit_source(entries: Iterable[AuditEntry], change: Callable[[Coverage], None]) -> Iterable[DltResource]:
    """One load of audit rows and of a change of the state: both are committed, or none.

    Args:
        entries: The rows.
        change: Changes the state.
    """

    # the state is that of the resource of this name; no row of the table is touched
    @dlt.resource(name=MESSAGES, file_format="parquet")
    def messages() -> Iterator[Any]:
        change(Coverage(dlt.current.resource_state()))
        load_id = str(dlt.current.load_package_state()["load_id"])
        columns = DECLARED[AUDIT_LOG]
        rows = pa.Table.from_pylist(
            [entry.columns() | {"_dlt_load_id": load_id} for entry in entries], arrow_schema(columns)
        )
        hints = make_table_hints(AUDIT_LOG, columns, Container().get(DestinationCapabilitiesContext))
        yield dlt.mark.with_hints(rows, hints, create_table_variant=True)

    return messages()
