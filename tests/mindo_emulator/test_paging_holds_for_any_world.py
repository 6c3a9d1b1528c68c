"""Whatever messages there are and however they are asked for: the pages are the truth, cut into pieces."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mindo_emulator import World
from mindo_emulator.model import CHANNELS, Query
from mindo_emulator.moments import read_moment

MIDNIGHT = read_moment("2026-04-02T00:00:00Z")
PLATFORMS = sorted(platform for group in CHANNELS.values() for platform in group)

moments = st.integers(-3, 3).map(lambda micros: MIDNIGHT + timedelta(microseconds=micros))
messages = st.lists(
    st.tuples(st.sampled_from([42, 57]), moments, st.sampled_from(PLATFORMS), st.booleans(), st.integers(1, 3)),
    max_size=25,
)
queries = st.builds(
    lambda companies, start, length, channel, direction, agents: Query(
        tuple(companies), start, start + timedelta(microseconds=length), channel, direction, agents
    ),
    st.lists(st.sampled_from([42, 57]), min_size=1, max_size=2, unique=True),
    moments,
    st.integers(1, 6),
    st.sampled_from([*CHANNELS, "all"]),
    st.sampled_from(["incoming", "outgoing", "all"]),
    st.none() | st.frozensets(st.integers(1, 3), min_size=1),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages, queries, st.integers(1, 8), st.sampled_from(["time", "shuffled"]))
def test_pages_are_the_truth_in_pieces(written: list[Any], query: Query, limit: int, order: Any) -> None:
    world = World(companies=[42, 57])
    for company_id, moment, platform, inbound, agent in written:
        direction = "inbound" if inbound else "outbound"
        world.add_message(
            company_id, moment, channel=platform, direction=direction, agent=None if inbound else {"id": agent}
        )
    served: list[tuple[int, str]] = []
    after = None
    while True:
        page = world.page(query, after, limit, order)
        served += [(key[2], key[1]) for key in page.keys]
        assert len(page.lines) == len(page.keys) <= limit
        if not page.more:
            break
        assert len(page.lines) == limit
        after = page.keys[-1]
    truth = world.truth(
        query.company_ids,
        query.start,
        query.end,
        channel=query.channel,
        agent_ids=query.agent_ids,
        direction=query.direction,
    )
    assert sorted(served) == sorted((m["metadata"]["company_id"], m["message_id"]) for m in truth)
