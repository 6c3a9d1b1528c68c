"""Classifications and extractions of the demo world: mostly text, and now and then anything else."""

from __future__ import annotations

import random
from typing import Any

from .scenarios import Scenario
from .tooling import Facts

Item = dict[str, Any]


def classify(scenario: Scenario, negative: bool, rng: random.Random) -> list[Item]:
    """Return the labels of a contact's message."""
    sentiment = "negative" if negative else rng.choices(("neutral", "positive"), (3, 2))[0]
    items: list[Item] = [
        {"label": "Intent", "value": scenario.intent},
        {"label": "Sentiment", "value": sentiment},
        {"label": "Topic", "value": scenario.topic},
    ]
    chance = rng.random()
    if chance < 0.06:
        items.append({"label": "Urgency", "value": rng.randint(1, 5)})
    elif chance < 0.1:
        items.append({"label": "Is complaint", "value": negative})
    elif chance < 0.12:
        items.append({"label": "Language", "value": None})
    elif chance < 0.14:
        items.append({"label": "Churn risk", "value": round(rng.random(), 3)})
    return items


def judge(handed_off: bool, rng: random.Random) -> list[Item]:
    """Return the labels of the agent's last message of a conversation."""
    return [
        {"label": "Resolution", "value": "escalated" if handed_off else rng.choices(("resolved", "open"), (5, 1))[0]},
        {"label": "Tone", "value": rng.choice(("friendly", "formal"))},
    ]


def extract(facts: Facts, rng: random.Random) -> list[Item]:
    """Return what the field extractors found in a contact's message; each field has its own JSON type."""
    found: dict[str, Any] = {
        "order_number": facts["order"],
        "email": facts["email"],
        "product": facts["product"],
        "quantity": facts["quantity"],
        "amount": facts["amount"],
        "wants_invoice": rng.random() < 0.5,
        "address": {"street": "San Martín", "number": rng.randrange(1, 3000), "city": facts["city"], "floor": None},
        "products": [facts["product"], {"sku": f"SKU{rng.randrange(900):03d}"}],
        "document": facts["document"],
        "preferred_date": facts["date"],
        # The same field as text, number or null: what an extractor that is a language model really does.
        "age": rng.choice((34, "34", 34.5, None)),
    }
    names = rng.sample(sorted(found), rng.randint(1, 3))
    return [{"field": name, "value": found[name], "confidence": round(rng.uniform(0.5, 1), 4)} for name in names]
