"""The table of fault kinds: a name for each function that spoils an answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to spoil an answer.

    Attributes:
        name: The name of the function.
        apply: Changes an answer in place: `apply(answer, exchange, **options)`.
        cursor: Whether it makes sense only for requests with a cursor (True), or for all (None).
    """

    name: str
    apply: Callable[..., None]
    cursor: bool | None

    def check(self, options: dict[str, Any]) -> None:
        """Refuse options that the kind does not have.

        Raises:
            TypeError: naming the option.
        """
        inspect.signature(self.apply).bind(None, None, **options)


KINDS: dict[str, Kind] = {}


def kind(cursor: bool | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a fault kind under its own name."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        KINDS[function.__name__] = Kind(function.__name__, function, cursor)
        return function

    return register


def place(count: int, where: str | int) -> int:
    """Return the index that `start`, `middle`, `end` or a number means among `count` lines."""
    named = {"start": 0, "middle": count // 2, "end": count}
    index = named[where] if isinstance(where, str) else where
    return max(0, min(index, count))
