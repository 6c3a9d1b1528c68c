"""The numbers of a run, from the JSON object in which it is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mindo.columns import MESSAGES

STATUSES = ("complete", "incomplete", "refused", "not_reached")
"""What can become of a planned window."""


@dataclass
class Figures:
    """What a run read and wrote; zeros if it did not come to its plan.

    Attributes:
        windows: Planned windows by status.
        rows: Rows of the complete windows, by table.
        written: Rows of `messages` that were inserted or changed; `None` if nobody could count them.
        companies: Companies that were found.
        watermarks: Up to when each of them is loaded without a gap; `None` if that isn't known.
    """

    windows: Counter[str] = field(default_factory=Counter)
    rows: dict[str, int] = field(default_factory=dict)
    written: int | None = None
    companies: int = 0
    requests: int = 0
    retries: int = 0
    bytes: int = 0
    watermarks: dict[str, datetime | None] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Figures:
        """The figures of a JSON object, of which everything may be missing."""
        windows = document.get("windows", [])
        marks = document.get("watermarks", {})
        return cls(
            windows=Counter(window["status"] for window in windows),
            rows=document.get("rows", {}),
            written=document.get("messages_written"),
            companies=len(document.get("companies", [])),
            requests=sum(window["requests"] for window in windows),
            retries=sum(window["retries"] for window in windows),
            bytes=sum(window["bytes"] for window in windows),
            watermarks={company: datetime.fromisoformat(mark) if mark else None for company, mark in marks.items()},
        )

    @property
    def messages(self) -> int:
        """Messages in the complete windows."""
        return self.rows.get(MESSAGES, 0)
