"""What whoever watches a command is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mindo import Window
from mindo.extraction import LoadedWindow
from mindo.reader import WindowRead

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class Observer:
    """Is told how a command proceeds; does nothing with it. Never told message text or keys."""

    def began(self, run_id: str) -> None:
        """A run begins, which has that name in the ledger."""

    def planned(self, windows: Sequence[Window]) -> None:
        """The run will read these windows."""

    def loaded(self, complete: Sequence[LoadedWindow], incomplete: Sequence[WindowRead]) -> None:
        """A load was committed: these windows are in it, and those can't be."""

    def ended(self, document: dict[str, Any]) -> None:
        """The command has ended, however it did.

        Args:
            document: The object that `--json` prints, which may be added to. Only the keys of `Session.ended` are always there.
        """


class Events(Observer):
    """An observer that standard error is left to.

    Attributes:
        log: Writes an event.
    """

    log: FilteringBoundLogger
