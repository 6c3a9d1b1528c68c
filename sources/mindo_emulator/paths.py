"""Reach into a nested message by path: `author.nickname`, `tool_calls.0.retries`, or a sequence of names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Path = str | Sequence[str | int]


def split_path(path: Path) -> list[str | int]:
    """Return the steps of a path; digits in a dotted path are list places."""
    if not isinstance(path, str):
        return list(path)
    return [int(step) if step.isdigit() else step for step in path.split(".")]


def set_at(target: Any, path: Path, value: Any) -> None:
    """Set a member; objects on the way that are missing or null are made."""
    *way, last = split_path(path)
    for step in way:
        if isinstance(target, dict) and target.get(str(step)) is None:
            target[str(step)] = {}
        target = _step(target, step)
    if isinstance(target, list):
        target[int(last)] = value
    else:
        target[str(last)] = value


def remove_at(target: Any, path: Path) -> None:
    """Remove a member or list item.

    Raises:
        LookupError: if it is not there.
    """
    *way, last = split_path(path)
    for step in way:
        target = _step(target, step)
    if isinstance(target, list):
        del target[int(last)]
    else:
        del target[str(last)]


def _step(target: Any, step: str | int) -> Any:
    return target[int(step)] if isinstance(target, list) else target[str(step)]


def copied(value: Any) -> Any:
    """Return a deep copy of a JSON value; a good deal faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {name: copied(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value
