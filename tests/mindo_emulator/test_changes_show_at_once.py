"""What is changed in the world is in the next answer, also when the message was served before."""

from __future__ import annotations

import json
import threading

import pytest

from mindo_emulator import Company, World

ALL = "classifications,extractions,tool_calls,trace_id"


@pytest.fixture
def world(emulator):
    return emulator.world


@pytest.fixture
def same(client, world, compare):
    """Assert that the API returns the truth, and return the rows by id."""

    def check(company_id=42):
        rows = client.rows(company_id=company_id, include=ALL)
        compare(rows, world.truth(company_id, client.params()["from"], client.params()["to"], include=ALL.split(",")))
        return {row["message_id"]: row for row in rows}

    check()
    return check


@pytest.fixture
def some_id(world):
    return world.add_message(42, "2026-04-10T12:00:00", "original")


def test_a_late_message_appears(same, world):
    late = world.add_message(
        42, "2026-04-02T03:04:05.678901", "tarde", direction="outbound", agent={"id": 5, "name": "Luna"}
    )
    row = same()[late]
    assert row["occurred_at"] == "2026-04-02T03:04:05.678901"
    assert row["author"]["type"] == "agent"


def test_an_edited_text_changes(same, world, some_id):
    world.edit_text(some_id, "cambiado")
    assert same()[some_id]["content"]["text"] == "cambiado"
    world.edit_text(some_id, None)
    assert same()[some_id]["content"]["text"] is None


def test_new_classifications_replace_the_old_ones(same, world, some_id):
    world.reclassify(some_id, [{"label": "Intent", "value": "x"}, {"label": "Score", "value": 3}])
    assert same()[some_id]["classifications"] == [{"label": "Intent", "value": "x"}, {"label": "Score", "value": 3}]
    world.reclassify(some_id, [])
    assert same()[some_id]["classifications"] == []


def test_a_deleted_message_is_gone(same, world, some_id):
    assert some_id in same()
    gone = world.delete(some_id)
    assert gone["message_id"] == some_id
    assert some_id not in same()


def test_a_moved_message_leaves_its_window(same, world, some_id):
    world.move(some_id, "2026-03-10T00:00:00Z")
    assert some_id not in same()
    world.move(some_id, "2026-04-11T00:00:00.000001Z")
    assert same()[some_id]["occurred_at"] == "2026-04-11T00:00:00.000001"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("mood", "bueno"),
        ("author.nickname", {"a": [1]}),
        ("agent.temperature", 0.2),
        ("content.text", 12),
        ("content.pages", [1, {"x": None}]),
        ("context.thread_position", "tercero"),
        ("metadata.region", "AR"),
        ("channel", "TELEGRAM"),
        (["a.b"], 1),
        ("classifications.0.confidence", 0.5),
        ("tool_calls.0.retries", "2"),
        ("extractions.0", "ya no es un objeto"),
        ("classifications", None),
        ("trace_id", 7),
        ("big", 12345678901234567890123),
        ("half", "\ud83d"),
    ],
)
def test_any_member_can_be_new_or_of_another_type(same, world, path, value):
    message_id = world.add_message(
        42,
        "2026-04-12T00:00:00Z",
        classifications=[{"label": "Intent", "value": "x"}],
        extractions=[{"field": "a", "value": 1}],
        tool_calls=[{"name": "t", "status": "ok", "arguments": {}}],
    )
    same()
    world.set_member(message_id, path, value)
    row = same()[message_id]
    for step in path.split(".") if isinstance(path, str) else path:
        row = row[int(step)] if isinstance(row, list) else row[step]
    assert row == value


def test_a_member_can_go(same, world, some_id):
    world.remove_member(some_id, "context.thread_position")
    assert same()[some_id]["context"] == {"reply_to_message_id": None}


def test_a_lone_surrogate_travels_as_an_escape(client, world, some_id):
    world.edit_text(some_id, "roto \ud83d")
    assert b"roto \\ud83d" in client.get().content


def test_a_company_can_be_added(client, emulator, world, compare):
    assert client.get(company_id=900).status_code == 404
    world.add_company(Company(900, "Nueva SA", "America/Lima"))
    world.add_message(900, "2026-04-20T00:00:00Z")
    compare(client.rows(company_id=900), world.truth(900))
    assert len(world.truth(900)) == 1


def test_two_companies_may_have_one_message_id(client, world, compare):
    for company_id in (42, 57):
        world.add_message(company_id, "2026-04-20T00:00:00Z", f"de {company_id}", message_id="msg_" + "a" * 24)
    compare(client.rows(company_id="42,57", limit=3), world.truth([42, 57]))
    with pytest.raises(LookupError):
        world.edit_text("msg_" + "a" * 24, "x")
    world.edit_text("msg_" + "a" * 24, "x", 57)
    assert world.message("msg_" + "a" * 24, 42)["content"]["text"] == "de 42"
    for company_id in (42, 57):
        world.delete("msg_" + "a" * 24, company_id)


def test_an_id_cannot_be_taken_twice(world, some_id):
    with pytest.raises(ValueError, match="already has"):
        world.add_message(42, message_id=some_id)


def test_copies_do_not_change_the_world(world, some_id):
    world.message(some_id)["content"]["text"] = "solo en la copia"
    world.messages(42)[0]["author"]["id"] = "solo en la copia"
    assert world.message(some_id)["content"]["text"] == "original"
    assert "solo en la copia" not in json.dumps(world.truth(42))


def test_what_is_given_to_the_world_may_change_afterwards(world):
    labels = [{"label": "Intent", "value": "x"}]
    message_id = world.add_message(42, "2026-04-10T12:00:00", classifications=labels)
    labels[0]["value"] = "y"
    assert world.message(message_id)["classifications"][0]["value"] == "x"


def test_the_truth_has_the_filters_of_the_api(world):
    whole = world.truth()
    parts = [world.truth(channel=channel) for channel in ("whatsapp", "instagram", "messenger")]
    unknown = [m for m in whole if m["channel"] == "TELEGRAM"]
    assert sum(map(len, parts)) + len(unknown) == len(whole)
    assert world.count(direction="incoming") + world.count(direction="outgoing") == len(whole)
    assert all("metadata" in m and "exported_at" not in m["metadata"] for m in whole)


def test_changes_from_many_threads_are_all_there(client, compare):
    from mindo_emulator import Emulator

    world = World(companies=[42])

    def write(number):
        for turn in range(50):
            world.add_message(42, f"2026-04-{number + 1:02d}T00:00:{turn:02d}Z")

    with Emulator(world) as emulator:
        client.url = emulator.base_url
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            client.rows(limit=100)
        assert len(client.rows(limit=100)) == world.count() == 400
