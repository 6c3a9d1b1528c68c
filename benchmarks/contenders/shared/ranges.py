"""The ranges to ask for: a request may span at most 31 days."""

from collections.abc import Iterator
from datetime import datetime, timedelta


def ranges(first_day: str, last_day: str) -> Iterator[tuple[str, str]]:
    """Half-open ranges in UTC from a day to another, which is not part of them."""
    start, last = datetime.fromisoformat(first_day), datetime.fromisoformat(last_day)
    while start < last:
        end = min(start + timedelta(days=31), last)
        yield start.isoformat() + "Z", end.isoformat() + "Z"
        start = end
