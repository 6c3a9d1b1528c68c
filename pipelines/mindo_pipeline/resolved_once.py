"""A destination's settings as its capabilities depend on them, resolved once: dlt does so thirty times in a run, an eighth of it."""

from __future__ import annotations

from copy import copy
from typing import Any

from dlt.common.destination import Destination
from dlt.common.destination.client import DestinationClientConfiguration


class ResolvedOnce(Destination[Any, Any]):
    """A destination that keeps what it resolved for its capabilities; clients get settings of their own as ever."""

    _for_capabilities: DestinationClientConfiguration | None = None

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        """Resolves the settings.

        Args:
            initial_config: Settings that are given.
            accept_partial: Whether some may be missing; dlt asks so for the capabilities only, which read them.
        """
        if not accept_partial:
            return super().configuration(initial_config)
        if self._for_capabilities is None:
            self._for_capabilities = super().configuration(initial_config, accept_partial=True)
        return self._for_capabilities


def resolved_once(destination: Destination[Any, Any]) -> Destination[Any, Any]:
    """The same destination, its settings for capabilities resolved once."""
    known = type(destination)
    same = copy(destination)
    # dlt knows a destination by the name of its class
    names = {"__module__": known.__module__, "__qualname__": known.__qualname__}
    same.__class__ = type(known.__name__, (ResolvedOnce, known), names)
    return same
