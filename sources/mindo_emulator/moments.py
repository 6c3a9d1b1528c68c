"""Times as the API writes and reads them: naive ISO text that means UTC, with microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_MICROS = 86_400_000_000
_MICROSECOND = timedelta(microseconds=1)


def to_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; a naive one already means UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def to_micros(moment: datetime) -> int:
    """Return the whole microseconds since 1970, without the rounding of a float timestamp."""
    return (to_utc(moment) - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the UTC moment of `to_micros`."""
    return EPOCH + timedelta(microseconds=micros)


def print_moment(moment: datetime) -> str:
    """Return the naive text of `occurred_at`: no zone, and no fraction when the microseconds are 0."""
    return to_utc(moment).replace(tzinfo=None).isoformat()


def print_stamp(moment: datetime) -> str:
    """Return the text of `exported_at`: always six decimals, with Z."""
    return to_utc(moment).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def read_moment(text: str) -> datetime:
    """Return the UTC moment that an ISO-8601 text names.

    Raises:
        ValueError: if the text is not ISO-8601.
    """
    return to_utc(datetime.fromisoformat(text))


def as_moment(value: datetime | str) -> datetime:
    """Return a UTC moment from a datetime or from ISO-8601 text."""
    return read_moment(value) if isinstance(value, str) else to_utc(value)
