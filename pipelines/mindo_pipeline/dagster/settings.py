"""What is set under `[dagster]` of dlt's configuration, or as DAGSTER__… in the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from mindo import ConfigurationError

from ..defaults import register_defaults
from ..running import DEFAULT_LOAD_MESSAGES
from ..warehouse import Warehouse

SECTION: Final = "dagster"


@dataclass(frozen=True)
class Settings:
    """Checked settings.

    Attributes:
        destination: Name of a dlt destination; by default DuckDB.
        dataset: Name of the dataset; by default the usual one.
        load_messages: Bounds a load; see `load_batch`.
        nightly: Cron expression of the nightly schedule, UTC.
        reconcile: Cron expression of the weekly one, UTC.
        retries: How often a load is tried again that the API or the destination made fail.
        retry_seconds: How long the first of these waits; each later one twice as long, give or take.
    """

    destination: str | None = None
    dataset: str | None = None
    load_messages: int = DEFAULT_LOAD_MESSAGES
    nightly: str = "0 3 * * *"
    reconcile: str = "0 5 * * 0"
    retries: int = 4
    retry_seconds: float = 30.0

    @classmethod
    def resolve(cls) -> Self:
        """Reads them as they are now.

        Raises:
            ConfigurationError: If one of them is unusable.
        """
        register_defaults()
        given: dict[str, Any] = {}
        for name, parse in _PARSERS.items():
            value: Any = dlt.config.get(f"{SECTION}.{name}")
            if value is not None:
                given[name] = parse(name, value)
        return cls(**given)

    def warehouse(self) -> Warehouse:
        """The warehouse that loads go to."""
        return Warehouse(self.destination, self.dataset)


def read_configuration_again() -> None:
    """Lets a process that stays see what was changed in the files since it was started."""
    Container()[PluggableRunContext].reload_providers()
    register_defaults()


def _text(_: str, value: Any) -> str:
    return str(value)


def _cron(name: str, value: Any) -> str:
    from dagster._utils.schedules import is_valid_cron_string

    text = str(value)
    if not is_valid_cron_string(text):
        raise ConfigurationError(f"{SECTION}.{name}: {text!r} is not a cron expression like '0 3 * * *'.")
    return text


def _number(kind: Callable[[Any], Any], lowest: int, what: str) -> Callable[[str, Any], Any]:
    def parse(name: str, value: Any) -> Any:
        try:
            number = kind(str(value).replace("_", ""))
        except ValueError:
            number = None
        if number is None or not lowest <= number <= 1_000_000_000:
            raise ConfigurationError(f"{SECTION}.{name}: {str(value)!r} is not {what}.")
        return number

    return parse


_PARSERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "destination": _text,
    "dataset": _text,
    "load_messages": _number(int, 1, "a whole number above 0"),
    "nightly": _cron,
    "reconcile": _cron,
    "retries": _number(int, 0, "a whole number from 0"),
    "retry_seconds": _number(float, 0, "a number of seconds from 0"),
}
