"""Column types for MySQL, MariaDB and SQLite that hold what dlt's own would cut or change.

dlt's sqlalchemy destination gives text a MySQL column of at most 64 KB, and writes JSON that is text already as a JSON string
of that text. Needs the package sqlalchemy.
"""

from __future__ import annotations

from functools import cache

import sqlalchemy as sa  # type: ignore[import-not-found, unused-ignore]  # an extra
from dlt.common.destination.typing import PreparedTableSchema
from dlt.destinations.impl.sqlalchemy.dialect import (
    DIALECT_CAPS_REGISTRY,
    DialectCapabilities,
    register_dialect_capabilities,
)
from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR  # type: ignore[import-not-found, unused-ignore]

# MySQL compares long texts one by one, and others as if `A` and `a` were the same
_IDS = ("_dlt_id", "_dlt_parent_id")
_ID_LENGTH = 64
_MYSQL_ID = VARCHAR(_ID_LENGTH, charset="ascii", collation="ascii_bin")
_DIALECTS = ("mysql", "mariadb", "sqlite")


@cache
def register_types() -> None:
    """Tells dlt's sqlalchemy destination to use these types, in this process and for every pipeline."""
    for name in _DIALECTS:
        known = DIALECT_CAPS_REGISTRY.get(name, DialectCapabilities)
        register_dialect_capabilities(name, type(f"Mindo{known.__name__}", (_LongTexts, known), {}))


class _LongTexts(DialectCapabilities):
    def adapt_table(self, table: sa.Table, table_schema: PreparedTableSchema) -> sa.Table:
        """Gives columns of text and JSON a type that takes any text as it is, and ids one that is compared quickly."""
        table = super().adapt_table(table, table_schema)
        for column in table.columns:
            if column.name in _IDS:
                column.type = sa.String(_ID_LENGTH).with_variant(_MYSQL_ID, "mysql", "mariadb")
            elif isinstance(column.type, (sa.Text, sa.JSON)):
                column.type = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
        return table
