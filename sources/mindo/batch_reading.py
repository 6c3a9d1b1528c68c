"""Reads the lines of a batch of proven pages into DuckDB's table `batch`: declared members as typed columns, all else as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from .columns import LISTS, MESSAGE, OBJECTS, TOP_MEMBERS, Site
from .engine import LINES, line_limit
from .exceptions import SpoolError
from .members import Members
from .pages import Page, rewrite_lines
from .sql import extract, identifier, json_text, pointer, utc_timestamp

_ID_DIGITS = 20
"""Hexadecimal digits of `_dlt_id`: 80 bits, as many as dlt's own ids have."""


@dataclass(frozen=True)
class BatchPage:
    """A page, and the window of the group that it belongs to."""

    window_no: int
    company_id: int
    page: Page


@dataclass(frozen=True)
class Layout:
    """How the messages of a batch are read.

    Attributes:
        unknown: Members nobody declared, by place, in a stable order.
        typed: Objects and lists that are read as structs; the others are JSON.
        by_line: Whether every line is read as JSON as a whole.
    """

    unknown: Mapping[str, Sequence[str]]
    typed: frozenset[str]
    by_line: bool = False

    @classmethod
    def of(cls, pages: Sequence[Members]) -> Layout:
        """The quickest way to read these pages."""
        sites = {MESSAGE.name: MESSAGE, **OBJECTS, **LISTS}
        unknown = {}
        for place, site in sites.items():
            found = frozenset[str]().union(*(page.names.get(place, ()) for page in pages))
            unknown[place] = sorted(found - site.members.keys() - set(site.lifted))
        irregular = frozenset[str]().union(*(page.irregular for page in pages))
        has_members = {place for place, site in sites.items() if place and (site.members or unknown[place])}
        return cls(unknown, frozenset(has_members - irregular))

    def names(self, place: str, site: Site) -> list[str]:
        """The members of a place."""
        return [*site.members, *self.unknown[place]]

    def author(self, member: str) -> str:
        """SQL of a member of the author, as text."""
        return f"author.{member}" if "author" in self.typed else json_text("author", pointer(member))

    def column_type(self, place: str, site: Site) -> str:
        """The type that the JSON reader is told for an object or a list."""
        if place not in self.typed:
            return "JSON"
        kinds = {name: site.members.get(name, site.others) for name in self.names(place, site)}
        fields = (f"{identifier(name)} {'VARCHAR' if kind == 'text' else 'JSON'}" for name, kind in kinds.items())
        return f"STRUCT({', '.join(fields)}){'[]' if place in LISTS else ''}"


def top_column(number: int) -> str:
    """The column of the batch that holds a member of the message itself that nobody declared."""
    return f"top_{number}"


def read_batch(connection: duckdb.DuckDBPyConnection, pages: Sequence[BatchPage]) -> Layout:
    """Reads pages into the table `batch`.

    Its columns are `window_no`, `company_id`, `message_key` (what `_dlt_id` begins with), the members that every message has,
    its objects and lists, and `top_column` for each other member of the message itself.

    Raises:
        SpoolError: If their messages are others than those that were proven.
    """
    paths = [source.page.path for source in pages]
    connection.register("sources", _sources_table(pages))
    longest = max(source.page.longest_line for source in pages)
    layout = Layout.of([source.page.members for source in pages])
    try:
        _create_batch(connection, _source(paths, longest), layout)
    except duckdb.Error:
        # names given twice, or names that differ in letter case only
        longest = max(longest, *(rewrite_lines(path) for path in paths))
        layout = replace(layout, typed=frozenset(), by_line=True)
        _create_batch(connection, _source(paths, longest), layout)
    connection.register("proven", _proven_ids(pages))
    digest = "SELECT count(*) || ' ' || bit_xor(hash(message_id)) FROM"
    row = connection.execute(f"SELECT ({digest} batch) = ({digest} proven)").fetchone()
    for name in ("sources", "proven"):
        connection.unregister(name)
    if row != (True,):
        raise SpoolError(
            "spool_dir: pages there are no longer what they were when they were proven; use a folder that nothing else"
            " writes to, and run again."
        )
    return layout


def _create_batch(connection: duckdb.DuckDBPyConnection, source: dict[str, Any], layout: Layout) -> None:
    """Reads pages by columns; or, in general, line by line as JSON, which takes whatever a line holds."""
    top = {top_column(number): name for number, name in enumerate(layout.unknown[MESSAGE.name])}
    if layout.by_line:
        relation, columns = "read_ndjson_objects($paths, maximum_object_size = $line_limit, filename = true)", {}
        texts = {name: json_text("json", pointer(name)) for name in TOP_MEMBERS}
        parts = {name: extract("json", name) for name in OBJECTS}
        lists = {name: extract("json", name) for name in LISTS}
        parts |= {alias: extract("json", name) for alias, name in top.items()}
    else:
        relation = f"read_ndjson($paths, {LINES}, columns = $columns, filename = true)"
        columns = {
            **dict.fromkeys(TOP_MEMBERS, "VARCHAR"),
            **{name: layout.column_type(name, site) for name, site in (OBJECTS | LISTS).items()},
            **dict.fromkeys(layout.unknown[MESSAGE.name], "JSON"),
        }
        texts = {name: f"lines.{name}" for name in TOP_MEMBERS}
        parts = {name: f"lines.{name}" for name in OBJECTS}
        lists = {name: f"lines.{name}" for name in LISTS}
        parts |= {alias: f"lines.{identifier(name)}" for alias, name in top.items()}
    key = f"substr(md5(company_id || ':' || {texts['message_id']}), 1, {_ID_DIGITS})"
    texts["occurred_at"] = utc_timestamp(texts["occurred_at"])
    for name, items in lists.items():
        if name not in layout.typed:
            # a single item where a list should be is read as a list of one
            items = (
                f"CASE coalesce(json_type({items}), 'NULL') WHEN 'ARRAY' THEN json_extract({items}, '$[*]')"
                f" WHEN 'NULL' THEN [] ELSE [{items}] END"
            )
        parts[name] = items
    selected = ", ".join(f"{sql} AS {name}" for name, sql in (texts | parts).items())
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE batch AS SELECT window_no, company_id, {key} AS message_key, {selected}"
        f" FROM {relation} AS lines JOIN sources ON sources.path = lines.filename",
        source | ({"columns": columns} if columns else {}),
    )


def _source(paths: Sequence[Path], longest_line: int) -> dict[str, Any]:
    return {"paths": [str(path) for path in paths], "line_limit": line_limit(longest_line)}


def _proven_ids(pages: Sequence[BatchPage]) -> pa.Table:
    return pa.table({"message_id": pa.chunked_array([source.page.ids for source in pages], pa.string())})


def _sources_table(pages: Sequence[BatchPage]) -> pa.Table:
    return pa.table(
        {
            "path": pa.array([str(source.page.path) for source in pages], pa.string()),
            "window_no": pa.array([source.window_no for source in pages], pa.int64()),
            "company_id": pa.array([source.company_id for source in pages], pa.int64()),
        }
    )
