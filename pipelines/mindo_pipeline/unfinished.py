"""Windows whose load failed, perhaps with some of its tables merged and others not: the next run reads them again.

A failed load leaves no rows behind, not even in a load package that dlt could finish later. So what it had begun is noted:
companies and times, in a file of the warehouse's local folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mindo import Selection, Window
from mindo.windows import Range, format_time, merge_ranges, parse_time, subtract_ranges


class Unfinished:
    """Reads and writes the note.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def ranges(self, company_id: int, selection: Selection) -> list[Range]:
        """What has to be read again of a company, as far as a run with this selection can repair it."""
        notes = self._read().items()
        return merge_ranges(
            piece
            for key, companies in notes
            if selection.contains(Selection.from_key(key))
            for piece in companies.get(company_id, [])
        )

    def add(self, windows: Iterable[Window], selection: Selection) -> None:
        """Notes windows whose load failed."""
        notes = self._read()
        companies = notes.setdefault(selection.key, {})
        for window in windows:
            companies[window.company_id] = merge_ranges(
                [*companies.get(window.company_id, []), (window.start, window.end)]
            )
        self._write(notes)

    def remove(self, windows: Iterable[Window], selection: Selection) -> None:
        """Takes out what was loaded with this selection."""
        notes = self._read()
        if not notes:
            return
        loaded = list(windows)
        for key, companies in notes.items():
            if selection.contains(Selection.from_key(key)):
                for company_id, ranges in companies.items():
                    own = [(window.start, window.end) for window in loaded if window.company_id == company_id]
                    companies[company_id] = subtract_ranges(ranges, own)
        self._write(notes)

    def _read(self) -> dict[str, dict[int, list[Range]]]:
        if not self._path.exists():
            return {}
        notes = json.loads(self._path.read_text())
        return {
            key: {
                int(company): [(parse_time(start), parse_time(end)) for start, end in ranges]
                for company, ranges in companies.items()
            }
            for key, companies in notes.items()
        }

    def _write(self, notes: dict[str, dict[int, list[Range]]]) -> None:
        left = {
            key: {
                str(company): [[format_time(start), format_time(end)] for start, end in ranges]
                for company, ranges in companies.items()
                if ranges
            }
            for key, companies in notes.items()
        }
        left = {key: companies for key, companies in left.items() if companies}
        if not left:
            self._path.unlink(missing_ok=True)
            return
        whole = self._path.with_suffix(".new")
        whole.write_text(json.dumps(left, indent=1))
        whole.replace(self._path)
