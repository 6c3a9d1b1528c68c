"""The guard against a window that shrinks sharply: a wrong answer, empty but well-formed, must not empty a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from .exceptions import WindowShrunk
from .windows import Window


@dataclass(frozen=True)
class ShrinkGuard:
    """How many messages a window may lose when it is read again.

    Attributes:
        percent: A loss of more than this part of what the destination holds of a window is refused …
        messages: … if it is at least that many messages.
    """

    percent: float
    messages: int

    def refuses(self, lost: int, held: int) -> bool:
        """Whether a window that would lose `lost` of `held` messages is refused."""
        return lost >= self.messages and lost * 100 > held * self.percent

    def refused(
        self, windows: Sequence[Window], found: pa.Table, held: pa.Table, connection: duckdb.DuckDBPyConnection
    ) -> dict[int, WindowShrunk]:
        """The windows that would lose too much, by position, each with the error that says so.

        A message that is in another one of these windows now has moved and is not lost.

        Args:
            windows: Windows that were read.
            found: `company_id` and `message_id` of what was read.
            held: What the destination holds of them, as `stored.HELD`.
            connection: A DuckDB connection to count with.
        """
        if held.num_rows < self.messages:
            return {}
        bounds = pa.table(
            {
                "number": pa.array(range(len(windows)), pa.int64()),
                "company_id": pa.array([window.company_id for window in windows], pa.int64()),
                "starts": pa.array([window.start for window in windows], pa.timestamp("us", "UTC")),
                "ends": pa.array([window.end for window in windows], pa.timestamp("us", "UTC")),
            }
        )
        relations = {"held": held, "bounds": bounds, "found": found}
        for name, relation in relations.items():
            connection.register(name, relation)
        counts = connection.execute(
            "SELECT number, count(*) FILTER (is_lost), count(*) FROM bounds"
            " JOIN (SELECT *, (company_id, message_id) NOT IN (SELECT (company_id, message_id) FROM found) AS is_lost"
            " FROM held) AS held ON held.company_id = bounds.company_id AND occurred_at >= starts AND occurred_at < ends"
            " GROUP BY number"
        ).fetchall()
        for name in relations:
            connection.unregister(name)
        return {number: self._error(lost, total) for number, lost, total in counts if self.refuses(lost, total)}

    def _error(self, lost: int, held: int) -> WindowShrunk:
        return WindowShrunk(
            f"it would lose {lost:,} of the {held:,} messages that the warehouse holds of it ({100 * lost / held:.0f} %);"
            f" the guard allows {self.percent:g} %"
        )
