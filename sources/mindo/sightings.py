"""What a filtered run saw come back: it decides which stored rows such a run may replace."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from .coverage import Coverage
from .selection import Selection
from .settings import AGENT_ID_PREFIX


class Sightings:
    """Notes the channels that came back, and the author ids that agents are known by.

    Args:
        selection: What was asked for.

    Attributes:
        channels: Channels that came back.
        agents: Author ids by the number of their agent, by company, where the API sends both.
    """

    def __init__(self, selection: Selection) -> None:
        self.channels: set[str] = set()
        self.agents: dict[int, dict[int, str]] = {}
        self._agent_ids = selection.agent_ids
        self._authors: dict[int, set[str]] = {}

    def note(self, messages: pa.Table) -> None:
        """Takes rows of `messages`."""
        self.channels.update(value for value in pc.unique(messages["channel"]).to_pylist() if value)
        is_agent = pc.starts_with(messages["author__id"], AGENT_ID_PREFIX)
        has_number = "agent__id" in messages.column_names and pa.types.is_integer(messages["agent__id"].type)
        key = ["company_id", "author__id", *(["agent__id"] if has_number else [])]
        for row in messages.select(key).filter(is_agent).group_by(key).aggregate([]).to_pylist():
            self._authors.setdefault(row["company_id"], set()).add(row["author__id"])
            if row.get("agent__id") is not None:
                self.agents.setdefault(row["company_id"], {})[row["agent__id"]] = row["author__id"]

    def authors(self, coverage: Coverage, company_ids: Iterable[int]) -> dict[int, set[str]]:
        """The author ids that the agents of the selection are known by, by company."""
        known = {}
        for company_id in company_ids:
            seen = self._authors.get(company_id, set())
            # more authors than agents asked for: the API filters by something else than the author, so nothing may go
            is_clear = len(seen) <= len(self._agent_ids)
            known[company_id] = coverage.agent_authors(company_id, self._agent_ids) | (seen if is_clear else set())
        return known
