"""The ways a world changes while it is served: late, edited, reclassified, moved and deleted messages, new fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from .corpus import business
from .identity import anonymous_id
from .model import Company, Message
from .moments import as_moment, print_moment, to_micros
from .paths import Path, copied, remove_at, set_at
from .settings import utc_now
from .store import Row, Store


class Changes(Store):
    """The changing half of a world; all methods take its lock."""

    def add_company(self, company: int | Company) -> Company:
        """Add a company without messages and return it; one that is there stays as it is."""
        added = company if isinstance(company, Company) else business(company)
        with self._lock:
            self._rows.setdefault(added.id, {})
            return self._companies.setdefault(added.id, added)

    def add_message(
        self,
        company_id: int,
        occurred_at: datetime | str | None = None,
        text: str | None = "hola",
        *,
        message_id: str | None = None,
        conversation_id: str | None = None,
        direction: str = "inbound",
        channel: str = "META_WHATSAPP",
        author: Mapping[str, Any] | None = None,
        agent: Mapping[str, Any] | None = None,
        classifications: Sequence[Any] = (),
        extractions: Sequence[Any] = (),
        tool_calls: Sequence[Any] = (),
        trace_id: str | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a message, late or not, and return its id.

        Args:
            company_id: Its company.
            occurred_at: Its time; default now. In the past it is a late message.
            text: Its text.
            message_id: Its id; made up if not given.
            conversation_id: Its conversation; a new one if not given.
            direction: `inbound` or `outbound`.
            channel: Its platform.
            author: The `author` object; a contact for inbound messages, else an agent or an operator.
            agent: The `agent` object.
            classifications: Items of the list.
            extractions: Items of the list.
            tool_calls: Items of the list.
            trace_id: Its trace.
            members: More members by path, as in `set_member`.

        Raises:
            ValueError: if the company already has a message with this id.
            KeyError: if there is no such company.
        """
        moment = utc_now() if occurred_at is None else as_moment(occurred_at)
        with self._lock:
            rows = self._rows[company_id]
            self._added += 1
            new_id = message_id or self._name("msg", company_id, self._added)
            if new_id in rows:
                raise ValueError(f"company {company_id} already has a message {new_id!r}")
            message: Message = {
                "message_id": new_id,
                "conversation_id": conversation_id or self._name("conv", company_id, self._added),
                "occurred_at": print_moment(moment),
                "channel": channel,
                "direction": direction,
                "author": dict(author) if author else self._author(company_id, direction, agent),
                "agent": copied(dict(agent)) if agent else None,
                "content": {"type": "text", "text": text, "media_url": None, "media_mime": None},
                "context": {"reply_to_message_id": None, "thread_position": None},
                "metadata": {
                    "client_id": anonymous_id("cmp", self._seed, company_id, company_id),
                    "company_id": company_id,
                    "schema_version": "1.0",
                },
                "classifications": copied(classifications),
                "extractions": copied(extractions),
                "tool_calls": copied(tool_calls),
                "trace_id": trace_id,
            }
            for path, value in (members or {}).items():
                set_at(message, path, copied(value))
            self._put(company_id, new_id, Row(message, to_micros(moment)))
            return new_id

    def edit_text(self, message_id: str, text: str | None, company_id: int | None = None) -> None:
        """Change the text of a message."""
        self.set_member(message_id, "content.text", text, company_id)

    def reclassify(self, message_id: str, classifications: Sequence[Any], company_id: int | None = None) -> None:
        """Replace the classifications of a message."""
        self.set_member(message_id, "classifications", list(classifications), company_id)

    def set_member(self, message_id: str, path: Path, value: Any, company_id: int | None = None) -> None:
        """Set any member, known or unknown, at any depth: `author.nickname`, `tool_calls.0.retries`, `["a.b"]`."""
        self.update(message_id, lambda message: set_at(message, path, copied(value)), company_id)

    def remove_member(self, message_id: str, path: Path, company_id: int | None = None) -> None:
        """Remove any member or list item."""
        self.update(message_id, lambda message: remove_at(message, path), company_id)

    def update(self, message_id: str, change: Callable[[Message], Any], company_id: int | None = None) -> None:
        """Let a function change the message in place, under the lock. It cannot move it: see `move`."""
        with self._lock:
            row = self._row(message_id, company_id)
            change(row.message)
            row.lines.clear()

    def move(self, message_id: str, occurred_at: datetime | str, company_id: int | None = None) -> None:
        """Change the time of a message."""
        moment = as_moment(occurred_at)
        with self._lock:
            row = self._row(message_id, company_id)
            row.message["occurred_at"] = print_moment(moment)
            row.micros = to_micros(moment)
            row.lines.clear()
            self._drop_index(self._owner(message_id, company_id))

    def delete(self, message_id: str, company_id: int | None = None) -> Message:
        """Delete a message and return what it was; the API stops returning it."""
        with self._lock:
            owner = self._owner(message_id, company_id)
            row = self._rows[owner].pop(message_id)
            self._drop_index(owner)
            return row.message

    def _name(self, prefix: str, company_id: int, number: int) -> str:
        return anonymous_id(prefix, self._seed, company_id, f"added:{number}")

    def _author(self, company_id: int, direction: str, agent: Mapping[str, Any] | None) -> dict[str, Any]:
        kind, prefix = (
            ("contact", "ctc") if direction == "inbound" else ("agent", "agt") if agent else ("operator", "op")
        )
        return {"type": kind, "id": self._name(prefix, company_id, 0), "display_name": None}
