"""What the API has to return, worked out the slow and plain way.

Shares no code with the serving path: no index, no cache, no cursor, no encoder, its own reading of the contract.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from .model import Message
from .paths import copied

_PLATFORMS = {
    "whatsapp": ["META_WHATSAPP", "WHATSAPP_EVOLUTION", "MANYCHAT_WHATSAPP"],
    "instagram": ["INSTAGRAM", "MANYCHAT_INSTAGRAM"],
    "messenger": ["MESSENGER"],
}
_OPTIONAL = ["classifications", "extractions", "tool_calls", "trace_id"]


def wanted(
    moment: datetime,
    message: Message,
    start: datetime | None,
    end: datetime | None,
    channel: str,
    agent_ids: set[int] | None,
    direction: str,
) -> bool:
    """Whether a message belongs to a window under these filters."""
    if start is not None and moment < start:
        return False
    if end is not None and moment >= end:
        return False
    if channel != "all" and message["channel"] not in _PLATFORMS[channel]:
        return False
    if direction == "incoming" and message["direction"] != "inbound":
        return False
    if direction == "outgoing" and message["direction"] != "outbound":
        return False
    return agent_ids is None or (message["agent"] or {}).get("id") in agent_ids


def visible(message: Message, include: Collection[str]) -> Message:
    """Return a copy of a message with just the optional members asked for."""
    shown: Message = copied(message)
    for name in _OPTIONAL:
        if name not in include:
            shown.pop(name, None)
    return shown
