"""Parameters mean what the contract says, and wrong ones are refused by name."""

from __future__ import annotations

import pytest

REFUSED = [
    ("company_id", None), ("company_id", ""), ("company_id", "x"), ("company_id", "42;57"), ("company_id", "4_2"),
    ("company_id", "-1"), ("company_id", "42,"), ("company_id", "٤٢"),
    ("from", None), ("from", "ayer"), ("from", "2026-13-01"), ("to", None), ("to", "2026-04-01T00:00:00+99:00"),
    ("channel", "sms"), ("channel", "META_WHATSAPP"), ("direction", "inbound"), ("include", "metadata"),
    ("agent_id", "Luna"), ("agent_id", ""), ("limit", "0"), ("limit", "10001"), ("limit", "-5"), ("limit", "1e3"),
    ("limit", "x"), ("limit", ""), ("cursor", "abc"), ("cursor", "!!"), ("cursor", "ñ"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_wrong_parameter_is_400_and_named(client, name, value):
    answer = client.get(**{name: value})
    assert answer.status_code == 400
    assert name in answer.json()["detail"]


def test_to_has_to_be_after_from(client):
    assert client.get(start="2026-04-02", end="2026-04-02").status_code == 400
    assert client.get(start="2026-04-03", end="2026-04-02").status_code == 400


def test_31_days_are_allowed_and_not_a_microsecond_more(client):
    assert client.get(start="2026-03-31T00:00:00Z", end="2026-05-01T00:00:00Z").status_code == 200
    assert client.get(start="2026-03-31T00:00:00Z", end="2026-05-01T00:00:00.000001Z").status_code == 400


@pytest.mark.parametrize(
    "same", ["2026-04-10T00:00:00Z", "2026-04-10", "2026-04-10T00:00:00", "2026-04-09T21:00:00-03:00"]
)
def test_times_without_zone_are_utc_and_zones_are_honoured(client, compare, same):
    compare(client.rows(start=same), client.rows(start="2026-04-10T00:00:00+00:00"))


@pytest.mark.parametrize("channel", ["all", "whatsapp", "instagram", "messenger"])
@pytest.mark.parametrize("direction", ["all", "incoming", "outgoing"])
def test_channel_and_direction_choose_rows(client, emulator, compare, channel, direction):
    rows = client.rows(channel=channel, direction=direction)
    assert rows
    compare(rows, emulator.world.truth(42, channel=channel, direction=direction))


def test_channels_map_to_platforms(client):
    platforms = {name: {row["channel"] for row in client.rows(channel=name, company_id="42,57,63")} for name in
                 ("whatsapp", "instagram", "messenger")}  # fmt: skip
    assert platforms == {
        "whatsapp": {"META_WHATSAPP", "WHATSAPP_EVOLUTION", "MANYCHAT_WHATSAPP"},
        "instagram": {"INSTAGRAM", "MANYCHAT_INSTAGRAM"},
        "messenger": {"MESSENGER"},
    }


def test_agent_id_chooses_messages_of_these_agents(client, emulator, compare):
    rows = client.rows(agent_id="421")
    assert rows
    assert {row["agent"]["id"] for row in rows} == {421}
    compare(client.rows(agent_id="421, 422"), emulator.world.truth(42, agent_ids=[421, 422]))
    assert client.rows(agent_id="999") == []


@pytest.mark.parametrize("include", ["classifications", "extractions", "tool_calls,trace_id", "trace_id", ""])
def test_include_shows_just_what_is_asked_for(client, emulator, compare, include):
    wanted = {name for name in include.split(",") if name}
    rows = client.rows(include=include)
    optional = {"classifications", "extractions", "tool_calls", "trace_id"}
    assert all(set(row) & optional == wanted for row in rows)
    compare(rows, emulator.world.truth(42, include=wanted))


def test_classifications_are_included_by_default(client):
    row = client.rows()[0]
    assert "classifications" in row
    assert "tool_calls" not in row


def test_the_limit_is_5000_by_default(start_emulator, new_world):
    _, client = start_emulator(new_world(6_000, companies=[42]))
    assert [len(page) for page in client.pages()] == [5_000, 1_000]
    assert [len(page) for page in client.pages(limit=10_000)] == [6_000]
