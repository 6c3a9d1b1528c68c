"""How machines watch a command, as its options say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from ..session import Session

_JSON: Final = "json"


@dataclass(frozen=True)
class Watching:
    """How machines watch a command, as it was asked for. Spans are asked for by the environment alone.

    Attributes:
        notify: Whether the configured webhook is told of the end.
        metrics_file: Where metrics are written.
        log_format: What standard error is: `text` or `json`.
    """

    notify: bool = False
    metrics_file: str | None = None
    log_format: str | None = None

    @classmethod
    def typed(cls, arguments: Sequence[str]) -> Self:
        """As far as it can be told from arguments that can't be understood as a whole."""
        values = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        values |= dict(pairwise(arguments))
        return cls("--notify" in arguments, values.get("--metrics-file"), values.get("--log-format"))

    @property
    def wants_events(self) -> bool:
        """Whether standard error is for JSON only."""
        return self.log_format == _JSON

    def begin(self, session: Session) -> None:
        """Gives the session its observers.

        Raises:
            ConfigurationError: If one of them can't do its work.
        """
        # takes a while to import, and most commands are watched by nobody
        from .choosing import add_observers, open_events

        session.events = open_events(session, self.log_format)
        try:
            add_observers(session, self.notify, self.metrics_file)
        finally:
            if session.events:
                # the last, so that its last event knows what became of the others
                session.observers.append(session.events)
