"""Which rows of the four tables belong to people who are to be forgotten, and how they are deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from mindo import Coverage
from mindo.columns import CHILD_TABLES, MESSAGES
from mindo.coverage import Forgotten

from .errors import DestinationError
from .model_tables import ModelTable, count_rows
from .warehouse import Warehouse

ERASED_TABLES: Final = (*CHILD_TABLES.values(), MESSAGES)
"""In the order in which rows are deleted: children first."""

_MOST_PARAMETERS: Final = 1_000

# whoever is no contact, an agent or an operator, is not somebody whose words have to stay
_ONLY_THEIRS = f"""
SELECT DISTINCT own.author__id, own.conversation_id FROM {{{MESSAGES}}} AS own
WHERE own.{{column}} IN ({{ids}}) AND own.conversation_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM {{{MESSAGES}}} AS other WHERE other.conversation_id = own.conversation_id
    AND (other.author__type = 'contact' OR substr(other.author__id, 1, 4) = 'ctc_')
    AND (other.author__id IS NULL OR other.author__id NOT IN ({{forgotten}})))
"""


@dataclass(frozen=True)
class Erasure:
    """What goes when people are forgotten.

    Attributes:
        asked: Whom it is about, as asked for.
        whole: Conversations that go as a whole because no other contact wrote in them, as far as the warehouse knows, with
            their contact; with themselves if a load found them, which keeps nothing that would tell whose they are.
        shared: Conversations in which other contacts wrote as well.
        rows: Rows by subject (an id that was asked for, or a conversation that a load found) and company, for each table;
            a row counts for one subject only.
        conversations: Conversations of which something goes, by company.
        alone: Messages without a conversation that go; models take each for a conversation of its own.
        models: Rows in tables that dbt has built, of all these conversations: they go as a whole, and the next build makes
            what is left of them anew.
    """

    asked: Forgotten
    whole: dict[str, str]
    shared: frozenset[str]
    rows: dict[tuple[str, int], dict[str, int]]
    conversations: dict[int, frozenset[str]]
    alone: frozenset[str]
    models: dict[ModelTable, int]

    @property
    def forgotten(self) -> Forgotten:
        """Whose messages must not be loaded again."""
        return Forgotten(self.asked.contacts, self.asked.conversations, frozenset(self.whole), self.shared)

    @property
    def subjects(self) -> list[str]:
        """The ids that were asked for, contacts first."""
        return [*sorted(self.asked.contacts), *sorted(self.asked.conversations)]

    @property
    def missing(self) -> list[str]:
        """Subjects of which the warehouse holds nothing."""
        there = {subject for subject, _ in self.rows}
        return [subject for subject in self.subjects if subject not in there]

    @property
    def touched(self) -> int:
        """Conversations of which something goes, over all companies."""
        return sum(map(len, self.conversations.values()))

    @property
    def total(self) -> dict[str, int]:
        """Rows by table."""
        return {table: sum(counts[table] for counts in self.rows.values()) for table in ERASED_TABLES}


def plan_erasure(warehouse: Warehouse, asked: Forgotten, coverage: Coverage) -> Erasure:
    """Looks up what goes.

    Of a contact go the messages that it wrote, and the whole of each conversation in which no other contact wrote who is not
    forgotten as well: what is answered there quotes it. Asked again for a contact, also what was answered in conversations
    that later loads found to be a forgotten contact's, before it wrote there.

    Args:
        warehouse: Where to look.
        asked: Who is to be forgotten.
        coverage: Knows who is forgotten already.
    """
    whole = _whole_conversations(warehouse, asked, coverage.forgotten())
    forgotten = Forgotten(asked.contacts, asked.conversations, frozenset(whole))

    def subjects(author: str | None, conversation: str | None) -> list[str]:
        named = [name for name in (author, conversation) if name in asked.contacts | asked.conversations]
        return named or [whole[conversation or ""]]

    owners: dict[tuple[int, str], list[str]] = {}
    rows: dict[tuple[str, int], dict[str, int]] = {}
    conversations: dict[int, set[str]] = {}
    alone: set[str] = set()
    for table in (MESSAGES, *CHILD_TABLES.values()):
        found = {(row["company_id"], row["message_id"]): row for row in _rows_of(warehouse, table, forgotten)}
        for (company_id, message_id), row in found.items():
            own = owners.setdefault((company_id, message_id), subjects(row["author__id"], row["conversation_id"]))
            for name in own:
                rows.setdefault((name, int(company_id)), dict.fromkeys(ERASED_TABLES, 0))
            rows[own[0], int(company_id)][table] += int(row["n"])
            if row["conversation_id"]:
                conversations.setdefault(int(company_id), set()).add(row["conversation_id"])
            else:
                alone.add(message_id)
    shared = frozenset().union(*conversations.values()) - forgotten.conversations - forgotten.derived
    touched = {company: frozenset(ids) for company, ids in conversations.items()}
    erasure = Erasure(asked, whole, shared, rows, touched, frozenset(alone), {})
    return replace(erasure, models=dict(count_rows(warehouse, _conversations(erasure))))


def erase(warehouse: Warehouse, erasure: Erasure) -> None:
    """Deletes the rows from the tables, and everything from those of the staging dataset. Needs `Warehouse.writing`.

    Raises:
        DestinationError: If a statement fails, or rows are still there afterwards.
    """
    filled = [table for table in ERASED_TABLES if erasure.total[table]]
    of_models = [
        (f"DELETE FROM {table.template} WHERE {condition}", ids)
        for table in erasure.models
        for condition, ids in _conversations(erasure)
    ]
    # together: without the messages, nobody could tell any more which rows of the models are theirs
    warehouse.change(
        of_models
        + [
            (f"DELETE FROM {{{table}}} WHERE {condition}", ids)
            for table in filled
            for condition, ids in _conditions(erasure.forgotten)
        ]
    )
    warehouse.empty_staging(ERASED_TABLES)
    if any(True for table in ERASED_TABLES for _ in _rows_of(warehouse, table, erasure.forgotten)):
        raise DestinationError(f"{warehouse.location}: rows are still there after they were deleted; run it again.")


def _whole_conversations(warehouse: Warehouse, asked: Forgotten, known: Forgotten) -> dict[str, str]:
    contacts = sorted(asked.contacts | known.contacts)
    found = known.derived if asked.contacts & known.contacts else frozenset()
    left = {row["conversation_id"] for row in _only_theirs(warehouse, "conversation_id", found, contacts)}
    own = _only_theirs(warehouse, "author__id", asked.contacts, contacts)
    return {name: name for name in left} | {row["conversation_id"]: row["author__id"] for row in own}


def _only_theirs(
    warehouse: Warehouse, column: str, ids: frozenset[str], forgotten: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Authors and conversations in which nobody else wrote, of the rows that have one of the ids in a column."""
    for batch in _batches(sorted(ids)):
        sql = _ONLY_THEIRS.replace("{column}", column).replace("{ids}", _marks(batch))
        yield from warehouse.query(sql.replace("{forgotten}", _marks(forgotten)), *batch, *forgotten)


def _rows_of(warehouse: Warehouse, table: str, forgotten: Forgotten) -> Iterator[dict[str, Any]]:
    for condition, ids in _conditions(forgotten):
        yield from warehouse.query(
            f"SELECT company_id, message_id, min(author__id) AS author__id, min(conversation_id) AS conversation_id,"
            f" count(*) AS n FROM {{{table}}} WHERE {condition} GROUP BY company_id, message_id",
            *ids,
        )


def _conditions(forgotten: Forgotten) -> Iterator[tuple[str, Sequence[str]]]:
    """The rows of the forgotten, as SQL with parameters; short enough for any destination."""
    conversations = forgotten.conversations | forgotten.derived
    for column, ids in (("author__id", forgotten.contacts), ("conversation_id", conversations)):
        for batch in _batches(sorted(ids)):
            yield f"{column} IN ({_marks(batch)})", batch


def _conversations(erasure: Erasure) -> Iterator[tuple[str, Sequence[str]]]:
    """All conversations of models of which something goes or went, in the same way."""
    touched = erasure.alone.union(*erasure.conversations.values())
    forgotten = erasure.forgotten
    for batch in _batches(sorted(touched.union(forgotten.conversations, forgotten.derived))):
        yield f"conversation_id IN ({_marks(batch)})", batch


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _MOST_PARAMETERS):
        yield ids[start : start + _MOST_PARAMETERS]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
