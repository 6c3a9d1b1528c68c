"""Windows whose load failed, perhaps with some of its tables merged and others not: the next run reads them again.

A failed load leaves no rows behind, not even in a load package that dlt could finish later. So what it had begun is noted:
companies and times, in a file of the warehouse's local folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from mindo import ConfigurationError, Selection, Window
from mindo.spool import open_private
from mindo.windows import Range, format_time, merge_ranges, parse_time, subtract_ranges


class Unfinished:
    """Reads and writes the note. Whatever ends the process, the file holds a whole note, the old one or the new.

    Args:
        path: The file; it need not exist.

    Attributes:
        path: The file.

    Raises:
        ConfigurationError: From every method, if the file is there and can't be read.
        OSError: From `add` and `remove`, if it can't be written; it is as before then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # runs that load the same destination at the same time share the note
        self._lock = FileLock(path.with_suffix(".lock"), mode=0o600)

    def all(self) -> Iterator[tuple[int, Selection, Range]]:
        """All that has to be read again: the company, with which selection it was read, and the range; in this order."""
        found = [
            (company_id, key, piece)
            for key, companies in self._read().items()
            for company_id, ranges in companies.items()
            for piece in ranges
        ]
        return ((company_id, Selection.from_key(key), piece) for company_id, key, piece in sorted(found))

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
        with self._lock:
            self._add(windows, selection)

    def remove(self, windows: Iterable[Window], selection: Selection) -> None:
        """Takes out what was loaded with this selection."""
        if self.path.exists():
            with self._lock:
                self._remove(windows, selection)

    def _add(self, windows: Iterable[Window], selection: Selection) -> None:
        notes = self._read()
        companies = notes.setdefault(selection.key, {})
        for window in windows:
            companies[window.company_id] = merge_ranges(
                [*companies.get(window.company_id, []), (window.start, window.end)]
            )
        self._write(notes)

    def _remove(self, windows: Iterable[Window], selection: Selection) -> None:
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
        try:
            notes = json.loads(self.path.read_bytes())
            return {
                Selection.from_key(key).key: {
                    int(company): [(parse_time(start), parse_time(end)) for start, end in ranges]
                    for company, ranges in companies.items()
                }
                for key, companies in notes.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # what is left of it says nothing that could be relied on, so it has to be somebody's decision
            raise ConfigurationError(
                f"unfinished: {self.path} notes which windows have to be read again after a failed load, and can't be"
                " read. Delete it, then `mindo backfill` the time of the failed load."
            ) from None

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
            self.path.unlink(missing_ok=True)
            return
        whole = self.path.with_suffix(".new")
        try:
            with open_private(whole) as file:
                file.write(json.dumps(left, indent=1).encode())
                file.flush()
                os.fsync(file.fileno())
            whole.replace(self.path)
        except OSError:
            whole.unlink(missing_ok=True)
            raise
        sync_folder(self.path.parent)


def sync_folder(folder: Path) -> None:
    """Makes a new name in a folder outlive a power failure."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
