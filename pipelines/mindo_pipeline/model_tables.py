"""Where dbt builds its models, and which tables of them hold rows of single conversations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from mindo.sql import identifier

from .warehouse import Warehouse

_SCHEMAS: Final = ("intermediate", "marts")
_DIALECTS: Final = frozenset({"duckdb", "postgres"})
_TABLES: Final = """
SELECT found.table_schema AS schema_name, found.table_name AS table_name FROM information_schema.tables AS found
JOIN information_schema.columns AS of_it ON of_it.table_catalog = found.table_catalog
    AND of_it.table_schema = found.table_schema AND of_it.table_name = found.table_name
WHERE found.table_catalog = current_database() AND found.table_type = 'BASE TABLE'
    AND found.table_schema IN (%s, %s) AND of_it.column_name IN ('company_id', 'conversation_id')
GROUP BY found.table_schema, found.table_name HAVING count(*) = 2
ORDER BY found.table_schema, found.table_name
"""


class ModelTable(NamedTuple):
    """A table that dbt has built."""

    schema: str
    name: str

    @property
    def sql(self) -> str:
        """Its name in a statement."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def template(self) -> str:
        """The same in a statement of `Warehouse.query` and `Warehouse.change`."""
        return self.sql.replace("{", "{{").replace("}", "}}")


def schema_of(warehouse: Warehouse) -> str:
    """The dataset's name as it is in the database."""
    return str(warehouse.pipeline.sql_client().dataset_name)


def models_schemas(schema: str) -> list[str]:
    """The schemas of the models, by that of the tables; never `…_staging`, which is dlt's."""
    return [f"{schema}_{name}" for name in _SCHEMAS]


def tables_of_conversations(warehouse: Warehouse) -> list[ModelTable]:
    """The tables in the models' schemas whose rows belong to a conversation; views show what is in other tables.

    Raises:
        DestinationError: If the destination can't be read.
    """
    capabilities = warehouse.pipeline.destination_client().capabilities
    if capabilities.sqlglot_dialect not in _DIALECTS:
        return []
    rows = warehouse.query(_TABLES, *models_schemas(schema_of(warehouse)))
    return [ModelTable(row["schema_name"], row["table_name"]) for row in rows]


def count_rows(
    warehouse: Warehouse, conditions: Iterable[tuple[str, Sequence[str]]]
) -> Iterator[tuple[ModelTable, int]]:
    """Rows of single conversations in each table that has some of them.

    Args:
        warehouse: Where to look.
        conditions: Which conversations, as SQL with parameters; no row is in two of them.
    """
    known = list(conditions)
    for table in tables_of_conversations(warehouse):
        sql = f"SELECT count(*) AS n FROM {table.template} WHERE "
        if rows := sum(int(warehouse.query(sql + condition, *ids)[0]["n"]) for condition, ids in known):
            yield table, rows
