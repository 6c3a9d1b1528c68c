"""The numbers of the pages in plain Python, from the messages as the API has them: no SQL, no window functions."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

Message = Mapping[str, Any]
_PREFIXES = {"ctc_": "contact", "agt_": "agent", "op_": "operator"}


def moment(message: Message) -> datetime:
    found = datetime.fromisoformat(message["occurred_at"])
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def author(message: Message) -> str:
    about = message["author"] or {}
    for prefix, kind in _PREFIXES.items():
        if (about.get("id") or "").startswith(prefix):
            return kind
    return str(about.get("type") or ("contact" if message["direction"] == "inbound" else "unknown")).lower()


@dataclass(frozen=True)
class Truth:
    """Messages of some companies, and of some days of each company's own clock.

    Attributes:
        messages: The messages.
        zones: Time zones of the companies.
        first: First day.
        last: Last day.
    """

    messages: Iterable[Message]
    zones: Mapping[int, str]
    first: date
    last: date

    def day(self, message: Message) -> date:
        return self.clock(message).date()

    def clock(self, message: Message) -> datetime:
        return moment(message).astimezone(ZoneInfo(self.zones[message["metadata"]["company_id"]]))

    def chosen(self) -> list[Message]:
        return [m for m in self.messages if self.first <= self.day(m) <= self.last]

    def by_day(self, what: str) -> Counter[tuple[date, str]]:
        values = {"author": author, "channel": lambda m: m["channel"], "direction": lambda m: m["direction"]}
        return Counter((self.day(m), str(values[what](m) or "(none)")) for m in self.chosen())

    def by_hour(self) -> Counter[tuple[int, int]]:
        clocks = [self.clock(m) for m in self.chosen() if author(m) == "contact"]
        return Counter((clock.isoweekday(), clock.hour) for clock in clocks)

    def conversations(self) -> dict[tuple[int, str], list[Message]]:
        found: dict[tuple[int, str], list[Message]] = defaultdict(list)
        for message in self.chosen():
            found[message["metadata"]["company_id"], message["conversation_id"] or message["message_id"]].append(
                message
            )
        return {key: sorted(messages, key=_in_order) for key, messages in found.items()}

    def waits(self) -> list[tuple[str, date, float]]:
        """Of each response who gave it, the day, and the seconds."""
        found = []
        for messages in self.conversations().values():
            asked = None
            for message in messages:
                kind = author(message)
                if kind == "contact":
                    asked = asked or moment(message)
                elif kind in ("agent", "operator"):
                    if asked is not None:
                        found.append((kind, self.day(message), (moment(message) - asked).total_seconds()))
                    asked = None
        return found

    def handled(self) -> Counter[tuple[date, str]]:
        found: Counter[tuple[date, str]] = Counter()
        for messages in self.conversations().values():
            days: dict[date, list[Message]] = defaultdict(list)
            for message in messages:
                days[self.day(message)].append(message)
            for day, own in days.items():
                agents = [moment(m) for m in own if author(m) == "agent"]
                people = [moment(m) for m in own if author(m) == "operator"]
                if not agents:
                    kind = "person_only" if people else "nobody"
                elif not people:
                    kind = "contained"
                else:
                    kind = "handed_off" if max(people) > min(agents) else "other_ai"
                found[day, kind] += 1
        return found

    def labels(self) -> Counter[str]:
        return Counter(item["label"] for m in self.chosen() for item in m["classifications"])

    def values(self, label: str) -> Counter[tuple[date, str]]:
        return Counter(
            (self.day(m), as_text(item["value"]))
            for m in self.chosen()
            for item in m["classifications"]
            if item["label"] == label
        )

    def tools(self) -> dict[str, tuple[int, int]]:
        """Calls and errors of each tool."""
        calls = [call for m in self.chosen() for call in m["tool_calls"]]
        names = {call["name"] for call in calls}
        failed = [c for c in calls if c["status"] == "error" or c.get("error") is not None]
        return {n: (sum(c["name"] == n for c in calls), sum(c["name"] == n for c in failed)) for n in names}


def _in_order(message: Message) -> tuple[Any, ...]:
    position = (message["context"] or {}).get("thread_position")
    kinds = {"contact": 0, "agent": 1}
    return (moment(message), position is not None, position or 0, kinds.get(author(message), 2))


def as_text(value: Any) -> str:
    if value is None:
        return "(none)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def percentile(values: list[float], part: float) -> float:
    """With interpolation, as SQL's percentile_cont."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: list[float]) -> float:
    return statistics.median(values)
