"""The seeded demo world: conversations spread over days and hours as people live, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from .conversation import Cast, Conversation
from .corpus import AGENT_MODELS, AGENT_NAMES, FIRST_NAMES, LAST_NAMES, PRODUCTS
from .model import Company, Message
from .moments import DAY, print_moment, to_utc
from .scenarios import SCENARIOS
from .tooling import Facts, Incident

HOUR_WEIGHTS = (3, 2, 1, 1, 1, 1, 3, 8, 20, 42, 55, 58, 46, 34, 30, 38, 48, 56, 58, 50, 40, 28, 16, 8)
"""How busy each local hour is."""
WEEKDAY_WEIGHTS = (1.15, 1.1, 1.05, 1.0, 1.0, 0.62, 0.38)
CHANNELS = ("META_WHATSAPP", "WHATSAPP_EVOLUTION", "INSTAGRAM", "MESSENGER", "MANYCHAT_WHATSAPP", "MANYCHAT_INSTAGRAM")


def generate_messages(
    companies: list[Company], start: datetime, end: datetime, messages: int, seed: int, awkward: float
) -> Iterator[tuple[datetime, Message]]:
    """Yield exactly `messages` messages with their times, all within [start, end).

    Args:
        companies: Who they belong to; the first ones get more.
        start: First moment, UTC.
        end: Moment after the last, UTC.
        messages: How many.
        seed: Same seed, same messages.
        awkward: Odds that a text or a tool's arguments come from the awkward collection.
    """
    shares = [1 / (rank + 1.5) for rank in range(len(companies))]
    given = 0
    for rank, company in enumerate(companies):
        target = round(messages * sum(shares[: rank + 1]) / sum(shares))
        yield from _company_messages(company, start, end, target - given, seed, awkward)
        given = target


def make_cast(company: Company, start: datetime, end: datetime, seed: int, awkward: float) -> Cast:
    """Return what the conversations of a company share."""
    rng = random.Random(f"cast:{seed}:{company.id}")
    agents: list[dict[str, Any]] = [
        {"id": company.id * 10 + number, "name": name, "model": rng.choice(AGENT_MODELS)}
        for number, name in enumerate(rng.sample(AGENT_NAMES, 2), start=1)
    ]
    people = [f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}" for _ in range(5)]
    operators = tuple(dict.fromkeys(people))[:3]
    # A tool that is called often, so that its failures show.
    broken = rng.choice([scenario for scenario in SCENARIOS[company.kind] if scenario.weight > 15]).tools[0]
    broken_from = start + (end - start) * rng.uniform(0.45, 0.75)
    incident = Incident(broken, broken_from, broken_from + (end - start) * 0.1)
    return Cast(company, seed, agents, operators, incident, awkward)


def _company_messages(
    company: Company, start: datetime, end: datetime, messages: int, seed: int, awkward: float
) -> Iterator[tuple[datetime, Message]]:
    cast = make_cast(company, start, end, seed, awkward)
    rng = random.Random(f"talk:{seed}:{company.id}")
    scenarios = SCENARIOS[company.kind]
    weights = [scenario.weight for scenario in scenarios]
    platform_weights = [rng.uniform(0.2, 1) * share for share in (60, 12, 18, 6, 7, 5)]
    days = _days(company, start, end, rng)
    given = 0
    for number in count():
        if given >= messages:
            return
        conversation = Conversation(
            cast=cast,
            number=number,
            # The first few take turns, so that a small world has every platform too.
            channel=CHANNELS[number] if number < len(CHANNELS) else rng.choices(CHANNELS, platform_weights)[0],
            facts=_facts(company, number, rng),
            moment=_arrival(company, days, start, end, rng),
            rng=rng,
            agent=rng.choices(cast.agents, (4, 1))[0],
            threaded=rng.random() < 0.6,
        )
        conversation.play(rng.choices(scenarios, weights)[0])
        written = conversation.messages
        if number % 40 == 7:
            _put_on_midnight(written)
        for moment, message in written:
            if start <= moment < end and given < messages:
                given += 1
                yield moment, message


def _days(company: Company, start: datetime, end: datetime, rng: random.Random) -> tuple[list[datetime], list[float]]:
    zone = ZoneInfo(company.timezone)
    first = start.astimezone(zone).date()
    dates = [first + DAY * number for number in range((end - start).days + 2)]
    weights = []
    for number, date in enumerate(dates):
        growth = 1 + 0.4 * number / len(dates)
        campaign = 2.2 if rng.random() < 0.03 else 1
        weights.append(WEEKDAY_WEIGHTS[date.weekday()] * growth * campaign)
    return [datetime.combine(date, time(), zone) for date in dates], weights


def _arrival(
    company: Company, days: tuple[list[datetime], list[float]], start: datetime, end: datetime, rng: random.Random
) -> datetime:
    for _ in range(20):
        day = rng.choices(*days)[0]
        hour = rng.choices(range(24), HOUR_WEIGHTS)[0]
        local = day.replace(hour=hour) + timedelta(microseconds=rng.randrange(3_600_000_000))
        moment = to_utc(local)
        if start <= moment < end:
            return moment
    # A range shorter than a day may miss the busy hours altogether.
    return start + (end - start) * rng.random()


def _facts(company: Company, number: int, rng: random.Random) -> Facts:
    name = rng.choice(FIRST_NAMES)
    surname = rng.choice(LAST_NAMES)
    handle = "".join(letter for letter in f"{name}{surname}".lower() if letter.isascii() and letter.isalnum())
    return {
        # Some contacts come back, so that a contact has several conversations.
        "contact": rng.randrange(number + 1) if rng.random() < 0.25 else number,
        "name": name,
        "surname": surname,
        "operator": "",
        "email": f"{handle}{rng.randrange(99)}@example.com",
        "document": f"{rng.randrange(10, 60)}.{rng.randrange(1000):03d}.{rng.randrange(1000):03d}",
        "order": f"P-{rng.randrange(10_000, 99_999)}",
        "product": rng.choice(PRODUCTS[company.kind]),
        "amount": round(rng.lognormvariate(10, 0.8), 2),
        "quantity": rng.randint(1, 6),
        "day": rng.choice(("lunes", "martes", "miércoles", "jueves", "viernes")),
        "date": f"2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
        "city": company.city,
    }


def _put_on_midnight(written: list[tuple[datetime, Message]]) -> None:
    # The whole conversation is shifted, so that its order and pauses stay as they were.
    pivot = written[len(written) // 2][0]
    midnight = pivot.replace(hour=0, minute=0, second=0, microsecond=0) + (DAY if pivot.hour >= 12 else DAY * 0)
    shift = midnight - pivot
    for place, (moment, message) in enumerate(written):
        moved = moment + shift
        written[place] = (moved, message)
        message["occurred_at"] = print_moment(moved)
