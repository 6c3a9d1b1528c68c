"""Which messages, and which parts of them, a run asks the API for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .exceptions import ConfigurationError
from .settings import ALL, CHANNELS, DIRECTIONS, INCLUDES


@dataclass(frozen=True)
class Selection:
    """The filters and includes of an export, as the API names them.

    Attributes:
        channel: `whatsapp`, `instagram`, `messenger` or `all`.
        direction: `incoming`, `outgoing` or `all`.
        agent_ids: AI agents to read, sorted; empty means no filter.
        include: Optional parts to read, in the order of the contract.
    """

    channel: str = ALL
    direction: str = ALL
    agent_ids: tuple[int, ...] = ()
    include: tuple[str, ...] = INCLUDES

    @classmethod
    def parse(cls, channel: Any = None, direction: Any = None, agent_ids: Any = None, include: Any = None) -> Selection:
        """Builds a selection from options or configuration values.

        Raises:
            ConfigurationError: If a value is not one that the contract names.
        """
        return cls(
            channel=_one_of("channel", channel or ALL, (*CHANNELS, ALL)),
            direction=_one_of("direction", direction or ALL, (*DIRECTIONS, ALL)),
            agent_ids=tuple(sorted(set(parse_ids("agent_ids", agent_ids)))),
            include=_parse_include(include),
        )

    @property
    def filtered(self) -> bool:
        """Whether some messages of a window are left out."""
        return self.channel != ALL or self.direction != ALL or bool(self.agent_ids)

    @property
    def key(self) -> str:
        """A readable text that is equal for equal selections; names the selection in dlt's state."""
        agents = ",".join(map(str, self.agent_ids)) or ALL
        return f"channel={self.channel} direction={self.direction} agents={agents} include={','.join(self.include)}"

    @classmethod
    def from_key(cls, key: str) -> Selection:
        """The selection that a `key` names."""
        parts = dict(part.split("=", 1) for part in key.split(" "))
        agents = parts["agents"]
        return cls(
            channel=parts["channel"],
            direction=parts["direction"],
            agent_ids=() if agents == ALL else tuple(map(int, agents.split(","))),
            include=tuple(filter(None, parts["include"].split(","))),
        )

    def contains(self, other: Selection) -> bool:
        """Whether everything that `other` asks for is also read by this selection."""
        return (
            self.channel in (ALL, other.channel)
            and self.direction in (ALL, other.direction)
            and (not self.agent_ids or (bool(other.agent_ids) and set(other.agent_ids) <= set(self.agent_ids)))
            and set(other.include) <= set(self.include)
        )

    def params(self) -> dict[str, str]:
        """The query parameters of the API. Defaults of the contract are sent as well."""
        params = {"channel": self.channel, "direction": self.direction, "include": ",".join(self.include)}
        if self.agent_ids:
            params["agent_id"] = ",".join(map(str, self.agent_ids))
        return params


def parse_ids(name: str, value: Any) -> list[int]:
    """Reads ids from `[42, 57]`, `"42,57"`, `"[42, 57]"`, `42` or nothing.

    Raises:
        ConfigurationError: If a part is not a positive whole number.
    """
    ids = []
    for part in _parts(value):
        text = str(part).strip()
        if not (text.isascii() and text.isdigit() and int(text) > 0) or isinstance(part, bool):
            raise ConfigurationError(f"{name}: {text!r} is not a positive whole number; write them like 42,57.")
        ids.append(int(text))
    return list(dict.fromkeys(ids))


def _parts(value: Any) -> Iterable[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        return [part for part in value.strip().strip("[]()").split(",") if part.strip()]
    if isinstance(value, Iterable):
        return value
    return [value]


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    text = str(value).strip().lower()
    if text not in allowed:
        raise ConfigurationError(f"{name}: {value!r} is not one of {', '.join(allowed)}.")
    return text


def _parse_include(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return INCLUDES
    # "none" lets the command line ask for the bare messages: an empty option would read as "not given"
    wanted = {str(part).strip().strip("'\"") for part in _parts(value)} - {"none"}
    if unknown := sorted(wanted - set(INCLUDES)):
        raise ConfigurationError(f"include: {', '.join(map(repr, unknown))} is not one of {', '.join(INCLUDES)}.")
    return tuple(part for part in INCLUDES if part in wanted)
