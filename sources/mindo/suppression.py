"""Keeps out of a load what belongs to people who were forgotten."""

from __future__ import annotations

import duckdb

from .coverage import Forgotten


class Suppression:
    """Takes the messages of forgotten people out of what is read, before anything of it is shaped.

    That is what a forgotten contact wrote, every message of a forgotten conversation, and the whole of any other conversation
    in which a forgotten contact wrote and no other contact did: what is answered there quotes the person. From then on such a
    conversation is forgotten too. Whether others wrote in it is judged by what is read together and by what was known before.

    Args:
        connection: The DuckDB connection of the shaper.
        forgotten: Who was forgotten before.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, forgotten: Forgotten) -> None:
        self._connection = connection
        self._is_needed = bool(forgotten.contacts or forgotten.conversations)
        for name in ("contacts", "conversations", "shared"):
            connection.execute(f"CREATE TEMP TABLE forgotten_{name} (id VARCHAR)")
            connection.execute(
                f"INSERT INTO forgotten_{name} SELECT unnest($ids)", {"ids": sorted(getattr(forgotten, name))}
            )

    def forgotten(self) -> Forgotten:
        """Who is forgotten, with the conversations that turned out to be theirs or shared."""

        def ids(name: str) -> frozenset[str]:
            return frozenset(row[0] for row in self._connection.execute(f"SELECT id FROM forgotten_{name}").fetchall())

        return Forgotten(ids("contacts"), ids("conversations"), ids("shared"))

    def apply(self, author_id: str, author_type: str) -> None:
        """Deletes from the table `batch`.

        Args:
            author_id: SQL of the author's id in it.
            author_type: SQL of the author's type.
        """
        if not self._is_needed:
            return
        is_forgotten = f"coalesce({author_id}, '') IN (SELECT id FROM forgotten_contacts)"
        is_contact = f"(coalesce({author_type}, '') = 'contact' OR starts_with(coalesce({author_id}, ''), 'ctc_'))"
        for table, condition in (("forgotten_shared", "is_shared"), ("forgotten_conversations", "NOT is_shared")):
            self._connection.execute(
                f"INSERT INTO {table} SELECT conversation_id FROM ("
                f"SELECT conversation_id, bool_or({is_contact} AND NOT {is_forgotten}) AS is_shared FROM batch"
                f" WHERE conversation_id IS NOT NULL GROUP BY conversation_id HAVING bool_or({is_forgotten}))"
                f" WHERE {condition} AND conversation_id NOT IN (SELECT id FROM forgotten_shared"
                " UNION ALL SELECT id FROM forgotten_conversations)"
            )
        self._connection.execute(
            f"DELETE FROM batch WHERE {is_forgotten}"
            " OR coalesce(conversation_id, '') IN (SELECT id FROM forgotten_conversations)"
        )
