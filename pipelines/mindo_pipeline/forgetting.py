"""`mindo forget`: erases people from the warehouse, and keeps them out of later runs.

First the audit rows and who is forgotten are committed, then rows are deleted, then the engine is made to give up their bytes,
then the audit rows are finished. Killed at any point, the same command goes on: what is done is found done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from mindo import ConfigurationError
from mindo.auditing import Action, AuditEntry, audit_source
from mindo.columns import AUDIT_LOG, CHILD_TABLES, DECLARED, LISTS, MESSAGES
from mindo.coverage import Coverage, Forgotten
from mindo.replacing import arrow_schema
from mindo.strategies import only_appends

from .confirming import confirm
from .console import clean, counted, make_table
from .erasing import ERASED_TABLES, Erasure, erase, plan_erasure
from .errors import DestinationError, explain
from .exit_codes import ExitCode
from .reclaiming import NotReclaimed, reclaiming_of
from .running import holds_demo
from .session import CommandFailed, Session, Verdict
from .warehouse import Warehouse

CONTACT_PREFIX: Final = "ctc_"
CONVERSATION_PREFIX: Final = "conv_"
_LONGEST_ID: Final = 200

_ENTRY: Final = arrow_schema(DECLARED[AUDIT_LOG])
_UNFINISHED: Final = f"""
SELECT {", ".join(_ENTRY.names)} FROM {{{AUDIT_LOG}}}
WHERE finished_at IS NULL AND action IN ('forget_contact', 'forget_conversation')
"""


def forget_command(
    session: Session,
    contacts: Sequence[str],
    conversations: Sequence[str],
    is_confirmed: bool,
    destination: str | None,
    dataset: str | None,
) -> Verdict:
    """Shows what goes, asks, and erases it."""
    asked = _parse(contacts, conversations)
    warehouse = Warehouse(destination, dataset)
    if only_appends(warehouse.pipeline.destination_client().capabilities):
        raise ConfigurationError(
            f"destination: loads are only appended to {warehouse.location}, so nothing can be erased there; delete its"
            " files and let `mindo run` load them anew from the API, or load a destination that merges and forget there."
        )
    warehouse.reading()
    planned = plan_erasure(warehouse, asked, warehouse.coverage)
    _describe(session, warehouse, planned)
    _show(session, warehouse, planned)
    confirm(session, _question(planned), is_confirmed)
    warehouse.on_wait = lambda: session.note("waiting for another run or build to end")
    try:
        with warehouse.writing():
            # a load that was under way may have brought more of them
            erasure = plan_erasure(warehouse, asked, warehouse.coverage)
            entries = _record(warehouse, erasure, session.started)
            erase(warehouse, erasure)
            done = _reclaim(warehouse)
            _finish(warehouse, entries)
    except BaseException as error:
        if explain(error)[0] is ExitCode.INTERRUPTED:
            raise CommandFailed(ExitCode.INTERRUPTED, "stopped; the same command goes on where it was.") from error
        raise
    _describe(session, warehouse, erasure)
    session.document["erased"] = True
    what = f"erased: {_counted_rows(erasure)}" if erasure.rows else "nothing of it was there"
    rebuilt = " `mindo dbt build` makes what is left of their conversations anew." if erasure.models else ""
    return Verdict(ExitCode.COMPLETE, f"{what}; {done}. Later runs leave out who was forgotten.{rebuilt}")


def _parse(contacts: Sequence[str], conversations: Sequence[str]) -> Forgotten:
    if not contacts and not conversations:
        raise ConfigurationError(
            "contact: missing; name who is to be forgotten: --contact ctc_… or --conversation conv_…."
        )
    return Forgotten(
        frozenset(_check_id("contact", CONTACT_PREFIX, text) for text in contacts),
        frozenset(_check_id("conversation", CONVERSATION_PREFIX, text) for text in conversations),
    )


def _check_id(name: str, prefix: str, text: str) -> str:
    is_usable = text.isprintable() and not any(c.isspace() for c in text) and len(prefix) < len(text) <= _LONGEST_ID
    if not (text.startswith(prefix) and is_usable):
        raise ConfigurationError(
            f"{name}: {text[:_LONGEST_ID]!r} is not an id like {prefix}4f1c…; copy it from the tables."
        )
    return text


def _record(warehouse: Warehouse, erasure: Erasure, requested: datetime) -> list[AuditEntry]:
    """Commits who is forgotten together with the audit rows; rows of an earlier, killed call are taken up."""
    unfinished = warehouse.query_arrow(_UNFINISHED, schema=_ENTRY)
    stored = [AuditEntry.from_columns(row) for rows in unfinished for row in rows.to_pylist()]
    subjects = {*erasure.subjects, *warehouse.coverage.forgotten().derived}
    begun = {(entry.subject, entry.company_id): entry for entry in stored if entry.subject in subjects}
    planned = {(entry.subject, entry.company_id): entry for entry in _entries(erasure, requested)}
    entries = [_taken_up(entry, begun.get(key)) for key, entry in planned.items()]
    entries += [entry for key, entry in begun.items() if key not in planned]
    # of whom nothing is left because an earlier call erased it, that call's entry tells
    there = {subject for subject, company_id in begun if company_id is not None}
    entries = [entry for entry in entries if entry.company_id is not None or entry.subject not in there]
    warehouse.pipeline.run(audit_source(entries, lambda coverage: coverage.record_forgotten(erasure.forgotten)))
    return entries


def _entries(erasure: Erasure, requested: datetime) -> Iterator[AuditEntry]:
    nothing = dict.fromkeys(ERASED_TABLES, 0)
    rows = [*sorted(erasure.rows.items()), *(((subject, None), nothing) for subject in erasure.missing)]
    for (subject, company_id), counts in rows:
        action: Action = "forget_contact" if subject.startswith(CONTACT_PREFIX) else "forget_conversation"
        yield AuditEntry(action, subject, company_id, requested, counts)


def _taken_up(entry: AuditEntry, begun: AuditEntry | None) -> AuditEntry:
    """The entry as it was begun; what it counted then may be deleted already."""
    if begun is None:
        return entry
    return replace(begun, rows={table: max(rows, begun.rows.get(table, 0)) for table, rows in entry.rows.items()})


def _finish(warehouse: Warehouse, entries: Iterable[AuditEntry]) -> None:
    now = datetime.now(UTC)
    warehouse.pipeline.run(audit_source([replace(entry, finished_at=now) for entry in entries], _leave_alone))


def _leave_alone(_: Coverage) -> None:
    """The state stays as it is."""


def _reclaim(warehouse: Warehouse) -> str:
    reclaiming = reclaiming_of(warehouse)
    if reclaiming is None:
        return f"when {warehouse.destination} overwrites what was deleted is up to it"
    try:
        reclaiming.reclaim(warehouse)
    except NotReclaimed as error:
        raise DestinationError(
            f"{warehouse.location}: the rows are deleted and stay out, but their bytes may still be in the database: {error},"
            " then run the same command again."
        ) from error
    return reclaiming.done


def _describe(session: Session, warehouse: Warehouse, erasure: Erasure) -> None:
    session.document |= {
        "location": warehouse.location,
        "dataset": warehouse.dataset,
        "contacts": sorted(erasure.asked.contacts),
        "conversations": sorted(erasure.asked.conversations),
        "whole_conversations": sorted(erasure.whole),
        "not_held": erasure.missing,
        "rows": erasure.total,
        "subjects": [
            {"subject": subject, "company_id": company_id, "rows": counts}
            for (subject, company_id), counts in sorted(erasure.rows.items())
        ],
        "models": {f"{table.schema}.{table.name}": rows for table, rows in sorted(erasure.models.items())},
        "erased": False,
    }


def _show(session: Session, warehouse: Warehouse, erasure: Erasure) -> None:
    if holds_demo(warehouse):
        session.warn(
            "These are the made-up messages of `mindo demo`: the next demo or real run drops them, and who is forgotten."
        )
    table = make_table(
        "erases of", "company", *(f">{name}" for name in (MESSAGES, *(name.replace("_", " ") for name in LISTS)))
    )
    for (subject, company_id), counts in sorted(erasure.rows.items()):
        rows = [f"{counts[name]:,}" for name in (MESSAGES, *CHILD_TABLES.values())]
        table.add_row(clean(subject), str(company_id), *rows)
    if erasure.rows:
        session.show(f"{clean(warehouse.location)}, dataset {clean(warehouse.dataset)}", table)
        forgotten = erasure.forgotten
        whole = len(forgotten.conversations | forgotten.derived)
        part = erasure.touched
        session.show(f"Of {counted(part, 'conversation')} some messages or all go.") if whole < part else None
    if erasure.models:
        session.show(
            f"Of all these conversations {counted(sum(erasure.models.values()), 'row')} of dbt's models go as well, until they"
            " are built again."
        )
    for subject in erasure.missing:
        session.note(
            f"{clean(subject)}: the warehouse holds nothing of it; it is noted, so that later runs leave it out"
        )


def _question(erasure: Erasure) -> str:
    return f"Erase {_counted_rows(erasure)} for good" if erasure.rows else "Leave it out of later runs for good"


def _counted_rows(erasure: Erasure) -> str:
    total = erasure.total
    lists = sum(total[table] for table in CHILD_TABLES.values())
    companies = {company for _, company in erasure.rows}
    return (
        f"{counted(total[MESSAGES], 'message')} and {counted(lists, 'row')} of their lists,"
        f" in {counted(erasure.touched, 'conversation')}"
        f" of {counted(len(companies), 'company', 'companies')}"
    )
