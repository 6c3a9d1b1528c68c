"""The words of the contract as types: companies, queries, and the interface a world offers to the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Message = dict[str, Any]
"""One message, as the API returns it, but without `metadata.exported_at`."""

Key = tuple[int, str, int]
"""Where a row stands in the order of rows: (sort value, message id, company id)."""

Order = Literal["time", "shuffled"]

CHANNELS: Mapping[str, frozenset[str]] = {
    "whatsapp": frozenset({"META_WHATSAPP", "WHATSAPP_EVOLUTION", "MANYCHAT_WHATSAPP"}),
    "instagram": frozenset({"INSTAGRAM", "MANYCHAT_INSTAGRAM"}),
    "messenger": frozenset({"MESSENGER"}),
}
"""Value of the `channel` parameter to the platforms it means; `all` means every platform."""

DIRECTIONS: Mapping[str, str] = {"incoming": "inbound", "outgoing": "outbound"}
INCLUDES = ("classifications", "extractions", "tool_calls", "trace_id")
DEFAULT_INCLUDE = ("classifications",)
MAX_DAYS = 31
MAX_LIMIT = 10_000
DEFAULT_LIMIT = 5_000

GLOBAL_DEMO_KEY = "mindo_global_demo"
"""The demo key that reads every company."""


def demo_key(company_id: int) -> str:
    """Return the demo key that reads one company only: `mindo_` and 24 characters."""
    return f"mindo_demo{company_id:020d}"


def demo_company(key: str) -> int | None:
    """Return the company of a demo key, or None if it is no such key."""
    digits = key.removeprefix("mindo_demo")
    return int(digits) if digits.isascii() and digits.isdigit() and demo_key(int(digits)) == key else None


@dataclass(frozen=True, slots=True)
class Company:
    """A company, with what `business-info` says of it.

    Attributes:
        id: The number used in `company_id`.
        name: Its business name.
        timezone: IANA name; what "a day" means to it.
        kind: `ECOMMERCE` or `CLINIC`.
        size: One of the `companySize` values, or None.
        categories: Lines of business.
        city: Where it is; used in texts and addresses.
    """

    id: int
    name: str
    timezone: str = "America/Argentina/Buenos_Aires"
    kind: str = "ECOMMERCE"
    size: str | None = "SMALL"
    categories: tuple[str, ...] = ("Retail",)
    city: str = "Buenos Aires"


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks for, checked; the cursor and the limit are not part of it."""

    company_ids: tuple[int, ...]
    start: datetime
    end: datetime
    channel: str = "all"
    direction: str = "all"
    agent_ids: frozenset[int] | None = None
    include: frozenset[str] = frozenset(DEFAULT_INCLUDE)

    @property
    def filters(self) -> bool:
        """Whether any filter other than company and time is set."""
        return self.channel != "all" or self.direction != "all" or self.agent_ids is not None

    def admits(self, message: Message) -> bool:
        """Whether a message passes the filters (company and time are not looked at)."""
        if self.channel != "all" and message.get("channel") not in CHANNELS[self.channel]:
            return False
        if self.direction != "all" and message.get("direction") != DIRECTIONS[self.direction]:
            return False
        if self.agent_ids is None:
            return True
        agent = message.get("agent")
        return isinstance(agent, dict) and agent.get("id") in self.agent_ids


@dataclass(slots=True)
class PageSlice:
    """One page of rows.

    Attributes:
        lines: One JSON text per row, without newline, `encode.STAMP` standing where `exported_at` goes.
        keys: The place of each line in the order.
        more: Whether rows follow this page.
    """

    lines: list[bytes] = field(default_factory=list)
    keys: Sequence[Key] = ()
    more: bool = False


class ServedWorld(Protocol):
    """What the server needs of a world."""

    @property
    def companies(self) -> Mapping[int, Company]:
        """The companies by id."""
        ...

    def page(self, query: Query, after: Key | None, limit: int, order: Order) -> PageSlice:
        """Return up to `limit` rows of the query that come after `after`."""
        ...

    def count(
        self,
        company_ids: int | Iterable[int] | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        *,
        channel: str = "all",
        agent_ids: Iterable[int] | None = None,
        direction: str = "all",
    ) -> int:
        """Return how many messages a window holds."""
        ...


def listed(company_ids: int | Iterable[int] | None, companies: Mapping[int, Company]) -> tuple[int, ...]:
    """Return company ids as a tuple: one, several, or (None) all there are."""
    if company_ids is None:
        return tuple(companies)
    return (company_ids,) if isinstance(company_ids, int) else tuple(company_ids)
