"""What is left out on account of forgotten people: all of theirs, and of others nothing, however the messages come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindo import Coverage
from mindo.coverage import Forgotten
from mindo.suppression import Suppression

Line = tuple[str | None, str | None, str | None]
"""Conversation, author id and author type of a message."""

ANA, CID = Forgotten(frozenset({"ctc_ana"})), Forgotten(frozenset({"ctc_ana", "ctc_cid"}))
AUTHORS = [
    ("ctc_ana", "contact"),
    ("ctc_cid", None),
    ("ctc_bea", "contact"),
    ("ctc_bea", None),
    (None, "contact"),
    ("agt_1", "agent"),
    ("usr_1", "operator"),
    (None, None),
]
LINES = st.tuples(st.sampled_from(["conv_1", "conv_2", "conv_asked", None]), st.sampled_from(AUTHORS)).map(
    lambda line: (line[0], *line[1])
)
BATCHES = st.lists(st.lists(LINES, max_size=5), max_size=6)
ENGINE = duckdb.connect()


def load(forgotten: Forgotten, batches: Iterable[Sequence[Line]]) -> tuple[list[list[Line]], Forgotten]:
    """What is left of batches that are read in one load, and who is forgotten then."""
    kept = []
    # temporary tables are a cursor's own
    with ENGINE.cursor() as connection:
        suppression = Suppression(connection, forgotten)
        for batch in batches:
            connection.execute("CREATE OR REPLACE TEMP TABLE batch (conversation_id VARCHAR, id VARCHAR, type VARCHAR)")
            if batch:
                connection.executemany("INSERT INTO batch VALUES (?, ?, ?)", [list(line) for line in batch])
            suppression.apply("batch.id", "batch.type")
            kept.append(connection.execute("FROM batch ORDER BY rowid").fetchall())
        return kept, suppression.forgotten()


def is_other_contact(line: Line, forgotten: Forgotten) -> bool:
    _, author_id, author_type = line
    return author_id not in forgotten.contacts and (author_type == "contact" or (author_id or "").startswith("ctc_"))


@given(BATCHES, st.sets(st.sampled_from(["conv_1", "conv_2"])))
def test_however_messages_are_divided_others_lose_nothing_and_nothing_of_the_forgotten_comes(
    batches: list[list[Line]], derived: set[str]
) -> None:
    before = Forgotten(CID.contacts, frozenset({"conv_asked"}), frozenset(derived))
    kept, after = load(before, batches)
    shared: set[str | None] = set()
    theirs: set[str | None] = set(derived)
    for batch, left in zip(batches, kept, strict=True):
        theirs |= {conversation for conversation, author_id, _ in batch if author_id in before.contacts} - {None}
        shared |= {line[0] for line in batch if is_other_contact(line, before)} & theirs
        assert left == [
            line
            for line in batch
            if line[1] not in before.contacts
            and line[0] != "conv_asked"
            and (is_other_contact(line, before) or line[0] not in theirs - shared)
        ]
    assert after == Forgotten(
        before.contacts,
        before.conversations,
        frozenset(filter(None, theirs - shared - {"conv_asked"})),
        frozenset(filter(None, shared - {"conv_asked"})),
    )


@given(BATCHES)
def test_it_makes_no_difference_whether_batches_come_in_one_load_or_in_many(batches: list[list[Line]]) -> None:
    in_one, forgotten = load(ANA, batches)
    state: dict[str, Any] = {}
    coverage = Coverage(state)
    coverage.record_forgotten(ANA)
    in_many = []
    for batch in batches:
        kept, after = load(coverage.forgotten(), [batch])
        in_many += kept
        coverage.record_forgotten(after)
        state["forgotten"] = json.loads(json.dumps(state["forgotten"]))
    assert in_many == in_one
    assert coverage.forgotten() == forgotten


def test_one_message_of_another_contact_makes_answers_come_again_from_that_batch_on() -> None:
    ana, bea, answer = ("conv_1", "ctc_ana", "contact"), ("conv_1", "ctc_bea", "contact"), ("conv_1", "agt_1", "agent")
    kept, after = load(ANA, [[ana, answer], [answer], [answer, bea], [answer, ana]])
    assert kept == [[], [], [answer, bea], [answer]]
    assert after == Forgotten(ANA.contacts, shared=frozenset({"conv_1"}))


def test_with_nobody_forgotten_nothing_is_left_out() -> None:
    lines = [("conv_1", author_id, author_type) for author_id, author_type in AUTHORS]
    assert load(Forgotten(), [lines]) == ([lines], Forgotten())


@pytest.mark.parametrize(
    ("known", "said", "expected"),
    [
        (
            Forgotten(derived=frozenset({"conv_1", "conv_2"})),
            Forgotten(shared=frozenset({"conv_1"})),
            Forgotten(derived=frozenset({"conv_2"}), shared=frozenset({"conv_1"})),
        ),
        (
            Forgotten(shared=frozenset({"conv_1", "conv_2"})),
            Forgotten(CID.contacts, derived=frozenset({"conv_1"})),
            Forgotten(CID.contacts, derived=frozenset({"conv_1"}), shared=frozenset({"conv_2"})),
        ),
        (
            Forgotten(derived=frozenset({"conv_1"}), shared=frozenset({"conv_2"})),
            Forgotten(conversations=frozenset({"conv_1", "conv_2"})),
            Forgotten(conversations=frozenset({"conv_1", "conv_2"})),
        ),
        (
            Forgotten(conversations=frozenset({"conv_1"})),
            Forgotten(ANA.contacts, derived=frozenset({"conv_1"})),
            Forgotten(ANA.contacts, frozenset({"conv_1"})),
        ),
    ],
    ids=["another was seen", "the other was forgotten too", "asked for later", "asked for before"],
)
def test_a_conversation_is_what_was_said_of_it_last_and_one_that_was_asked_for_stays_so(
    known: Forgotten, said: Forgotten, expected: Forgotten
) -> None:
    state: dict[str, Any] = {}
    Coverage(state).record_forgotten(known)
    Coverage(state).record_forgotten(said)
    assert Coverage(json.loads(json.dumps(state))).forgotten() == expected


def test_a_state_from_before_conversations_were_told_apart_can_be_read_and_added_to() -> None:
    state: dict[str, Any] = {"forgotten": {"contacts": ["ctc_ana"], "conversations": ["conv_1"], "shared": ["conv_2"]}}
    before = Forgotten(ANA.contacts, frozenset({"conv_1"}), frozenset(), frozenset({"conv_2"}))
    assert Coverage(state).forgotten() == before
    Coverage(state).record_forgotten(Forgotten(derived=frozenset({"conv_3"})))
    assert state["forgotten"] == {
        "contacts": ["ctc_ana"],
        "conversations": ["conv_1"],
        "derived": ["conv_3"],
        "shared": ["conv_2"],
    }
