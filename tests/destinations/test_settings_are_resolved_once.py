"""What a destination can do is worked out from settings that are resolved once; all else is as dlt has it."""

from __future__ import annotations

from functools import partial
from typing import Any

import dlt
import pytest
from dlt.common.destination import reference

from mindo_pipeline.duckdb_destination import ReplacingDuckDb
from mindo_pipeline.resolved_once import resolved_once

CREDENTIALS = {
    "DESTINATION__POSTGRES__CREDENTIALS": "postgresql://loader:word@localhost:5432/warehouse",
    "DESTINATION__SQLALCHEMY__CREDENTIALS": "sqlite:///warehouse.sqlite",
    "DESTINATION__FILESYSTEM__BUCKET_URL": "file://lake",
    "DESTINATION__DUCKDB__CREDENTIALS": "warehouse.duckdb",
}


@pytest.fixture(params=["postgres", "sqlalchemy", "filesystem", "duckdb"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A destination as dlt makes it, and as a warehouse has it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    known = getattr(dlt.destinations, request.param)()
    return known, ReplacingDuckDb() if request.param == "duckdb" else resolved_once(known)


def test_it_is_the_same_destination(pair: tuple[Any, Any]) -> None:
    known, ours = pair
    assert isinstance(ours, type(known))
    assert (ours.destination_name, ours.destination_type) == (known.destination_name, known.destination_type)
    for _ in range(2):
        theirs = comparable(known.capabilities())
        if isinstance(ours, ReplacingDuckDb):
            theirs["supported_loader_file_formats"] = [*theirs["supported_loader_file_formats"], "reference"]
        assert comparable(ours.capabilities()) == theirs


def comparable(capabilities: Any) -> dict[str, Any]:
    """What a destination can do, with the kind of those parts that dlt makes anew each time."""
    found = dict(capabilities)
    for name in ("type_mapper", "dialect_capabilities"):
        found[name] = found[name] if isinstance(found.get(name), type) else type(found.get(name))
    return {name: value.func if isinstance(value, partial) else value for name, value in found.items()}


def test_its_settings_are_resolved_once_for_all_that_it_can_do(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    resolve = reference.resolve_configuration

    def counted(*arguments: Any, **named: Any) -> Any:
        asked.append(named["accept_partial"])
        return resolve(*arguments, **named)

    monkeypatch.setattr(reference, "resolve_configuration", counted)
    _, ours = pair
    capabilities = [ours.capabilities() for _ in range(3)]
    assert asked == [True]
    assert len({id(each) for each in capabilities}) == 3, "what is changed in one changes the others"


def test_each_client_has_credentials_of_its_own(pair: tuple[Any, Any]) -> None:
    _, ours = pair
    ours.capabilities()
    one, other = (ours.configuration(ours.spec()._bind_dataset_name(dataset_name="mindo")) for _ in range(2))
    assert one.is_resolved()
    assert one is not other
    # of a connection that they shared nobody would know when to close it
    assert one.credentials is None or one.credentials is not other.credentials
