"""Text for people: made harmless, coloured only where that is wanted, never mixed up with results."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_WIDTH_WITHOUT_TERMINAL: Final = 120
# joiners belong to emoji and to several scripts; every other format character can hide or turn text around
_HARMLESS_FORMAT: Final = "\u200c\u200d"
_DANGEROUS: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean(text: object) -> str:
    """Text from the API or the data with control, bidirectional and broken characters made visible."""
    return "".join(_visible(c) if unicodedata.category(c) in _DANGEROUS else c for c in str(text))


def _visible(character: str) -> str:
    if character in _HARMLESS_FORMAT:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def make_console(stream: TextIO) -> Console:
    """A console that takes text literally: no markup, no emoji codes, no highlighting. Honours NO_COLOR."""
    fixed = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
    return _LastingConsole(file=stream, markup=False, emoji=False, highlight=False, width=fixed)


class _LastingConsole(Console):
    def on_broken_pipe(self) -> None:
        """Goes on without a reader; rich would end the program, in the middle of a load."""
        self.quiet = True


def make_table(*columns: str) -> Table:
    """An empty table; a column whose name starts with `>` is aligned to the right."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return table


def moment(value: datetime | None) -> str:
    """A time for people, in UTC; in tables the column says so."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if value else "-"


def json_time(value: datetime | None) -> str | None:
    """A time as in the API's parameters: ISO-8601 in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value else None


def duration(value: timedelta) -> str:
    """A length of time for people: its two largest units."""
    seconds = max(0.0, value.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    parts = [(int(seconds // 86_400), "d"), (int(seconds // 3_600 % 24), "h"), (int(seconds // 60 % 60), "min")]
    parts.append((int(seconds % 60), "s"))
    first = next(number for number, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 window`, `2,000 windows`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def typed_as(name: str) -> str:
    """How a program of this environment is typed in the current folder."""
    program = Path(sys.executable).parent / name
    if shutil.which(name) == str(program) or not program.exists():
        return name
    try:
        return shlex.quote(str(program.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(program))
