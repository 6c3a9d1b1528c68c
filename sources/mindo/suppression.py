"""Keeps out of a load what belongs to people who were forgotten."""

from __future__ import annotations

import duckdb

from .coverage import FORGOTTEN_KINDS, Forgotten


class Suppression:
    """Takes the messages of forgotten people out of what is read, before anything of it is shaped.

    That is what a forgotten contact wrote, every message of a conversation that was asked for, and what is answered in a
    conversation in which a forgotten contact wrote and no other contact was seen: it quotes the person. One message of
    another contact is enough to make such a conversation a shared one, for good: who is not forgotten loses nothing,
    however late it is seen. What of it was left out until then comes when it is read again.

    Args:
        connection: The DuckDB connection of the shaper.
        forgotten: Who was forgotten before.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, forgotten: Forgotten) -> None:
        self._connection = connection
        self._is_needed = bool(forgotten.contacts or forgotten.conversations or forgotten.derived)
        for name in FORGOTTEN_KINDS:
            connection.execute(f"CREATE TEMP TABLE forgotten_{name} (id VARCHAR)")
            connection.execute(
                f"INSERT INTO forgotten_{name} SELECT unnest($ids)", {"ids": sorted(getattr(forgotten, name))}
            )

    def forgotten(self) -> Forgotten:
        """Who is forgotten, with the conversations that turned out to be theirs or shared."""

        def ids(name: str) -> frozenset[str]:
            return frozenset(row[0] for row in self._connection.execute(f"SELECT id FROM forgotten_{name}").fetchall())

        return Forgotten(**{name: ids(name) for name in FORGOTTEN_KINDS})

    def apply(self, author_id: str, author_type: str) -> None:
        """Deletes from the table `batch`.

        Args:
            author_id: SQL of the author's id in it.
            author_type: SQL of the author's type.
        """
        if not self._is_needed:
            return
        is_forgotten = f"coalesce({author_id}, '') IN (FROM forgotten_contacts)"
        is_contact = f"(coalesce({author_type}, '') = 'contact' OR starts_with(coalesce({author_id}, ''), 'ctc_'))"
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE theirs AS"
            f" SELECT conversation_id AS id, bool_or({is_contact} AND NOT {is_forgotten}) AS has_others FROM batch"
            " WHERE conversation_id IS NOT NULL AND conversation_id NOT IN (FROM forgotten_conversations"
            " UNION ALL FROM forgotten_shared) GROUP BY conversation_id"
            f" HAVING bool_or({is_forgotten}) OR conversation_id IN (FROM forgotten_derived)"
        )
        for statement in (
            "DELETE FROM forgotten_derived WHERE id IN (SELECT id FROM theirs)",
            "INSERT INTO forgotten_derived SELECT id FROM theirs WHERE NOT has_others",
            "INSERT INTO forgotten_shared SELECT id FROM theirs WHERE has_others",
            f"DELETE FROM batch WHERE {is_forgotten} OR coalesce(conversation_id, '') IN (FROM forgotten_conversations"
            " UNION ALL FROM forgotten_derived)",
            "DROP TABLE theirs",
        ):
            self._connection.execute(statement)
