"""Partitions: a company and a month of UTC. Companies come and go with the configuration, months with the calendar."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import dagster as dg
from dagster import MultiPartitionKey

from mindo import Company, MindoClient, Options, resolve_companies, resolve_options
from mindo.configuration import parse_moment

from ..batches import Batch

COMPANY: Final = "company"
MONTH: Final = "month"
_MONTH_FORMAT: Final = "%Y-%m"
_LONGEST_MONTH: Final = timedelta(days=31)

company_partitions: Final = dg.DynamicPartitionsDefinition(name="mindo_company")


def make_partitions(options: Options) -> dg.MultiPartitionsDefinition:
    """Company by month, from the start of the history to the running month."""
    months = dg.MonthlyPartitionsDefinition(
        start_date=options.start.strftime(_MONTH_FORMAT), fmt=_MONTH_FORMAT, timezone="UTC", end_offset=1
    )
    return dg.MultiPartitionsDefinition({COMPANY: company_partitions, MONTH: months})


@dataclass(frozen=True, order=True)
class Partition:
    """A company and a month, by its first moment."""

    company_id: int
    month: datetime

    @classmethod
    def of(cls, key: str) -> Self:
        """Reads a partition key of Dagster's."""
        company, month = key.split("|")
        return cls(int(company), datetime.strptime(month, _MONTH_FORMAT).replace(tzinfo=UTC))

    @property
    def key(self) -> MultiPartitionKey:
        """The same for Dagster."""
        return MultiPartitionKey({COMPANY: str(self.company_id), MONTH: self.month.strftime(_MONTH_FORMAT)})

    def batch(self, company: Company, options: Options, only_new: bool, since: str | None) -> Batch:
        """What a run of it loads.

        Args:
            company: The company.
            options: Where its history begins, if that was configured.
            only_new: Whether only that is read which `mindo run` would read of it.
            since: From when on to read; by default from the start of the month.

        Raises:
            ConfigurationError: If `since` is not a time.
        """
        starts = [self.month]
        if options.start_is_given:
            starts.append(options.start)
        if since is not None:
            starts.append(parse_moment("since", since))
        return Batch(company, max(starts), next_month(self.month), only_new)


def month_of(moment: datetime) -> datetime:
    """The first moment of its month."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    """The first moment of the month after it."""
    return month_of(month + _LONGEST_MONTH)


def months_between(first: datetime, last: datetime) -> list[datetime]:
    """Months from one to another, both included."""
    months = []
    while first <= last:
        months.append(first)
        first = next_month(first)
    return months


def nightly_partitions(
    company_ids: Iterable[int], options: Options, now: datetime, loaded: Collection[Partition]
) -> list[Partition]:
    """What a night loads: for each company the months of the lookback, and those that came since it was last loaded.

    Args:
        company_ids: The companies of the configuration.
        options: The lookback, and where a company's history begins that was never loaded.
        now: The time of the night.
        loaded: What was ever loaded.
    """
    first, last = month_of(options.start), month_of(now)
    latest: dict[int, datetime] = {}
    for partition in loaded:
        latest[partition.company_id] = max(partition.month, latest.get(partition.company_id, partition.month))
    lookback = month_of(now - options.lookback)
    found = []
    for company_id in company_ids:
        since = min(lookback, latest[company_id]) if company_id in latest else first
        found += [Partition(company_id, month) for month in months_between(max(first, since), last)]
    return found


def configured_company_ids(options: Options) -> list[int]:
    """The companies of the configuration; a company's own key is asked for its company.

    Raises:
        ConfigurationError: If there is no key, or no company is named for a global key.
        AccessError: If a key is refused.
        ApiError: If it has to be asked and can't be.
    """
    if options.company_ids and (options.api_key or options.api_keys):
        return list(options.company_ids)
    return [company.company_id for company in resolve_companies(options, MindoClient(options))]


def resolve_company(company_id: int) -> tuple[Options, Company]:
    """Options for one company, and what it is called.

    Raises:
        ConfigurationError: If the configuration is unusable.
        AccessError: If the key is refused.
        ApiError: If the API can't be asked.
    """
    options = resolve_options({"company_ids": [company_id]})
    return options, resolve_companies(options, MindoClient(options))[0]
