"""What came back: which channels, and by which author ids agents are known. It decides what a filtered run may replace."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from .settings import AGENT_ID_PREFIX


class Sightings:
    """Notes the channels that came back, and the author ids that agents are known by.

    Attributes:
        channels: Channels that came back.
        agents: Author ids by the number of their agent, by company, where the API sends both.
    """

    def __init__(self) -> None:
        self.channels: set[str] = set()
        self.agents: dict[int, dict[int, str]] = {}

    def note(self, messages: pa.Table) -> None:
        """Takes rows of `messages`."""
        self.channels.update(value for value in pc.unique(messages["channel"]).to_pylist() if value)
        if "agent__id" not in messages.column_names or not pa.types.is_integer(messages["agent__id"].type):
            return
        is_agent = pc.and_kleene(
            pc.starts_with(messages["author__id"], AGENT_ID_PREFIX), pc.is_valid(messages["agent__id"])
        )
        key = ["company_id", "agent__id", "author__id"]
        for row in messages.select(key).filter(is_agent).group_by(key).aggregate([]).to_pylist():
            self.agents.setdefault(row["company_id"], {})[row["agent__id"]] = row["author__id"]
