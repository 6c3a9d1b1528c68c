"""Keys open what the contract says, and nothing else."""

from __future__ import annotations

import pytest

from mindo_emulator import BUSINESS_PATH, GLOBAL_DEMO_KEY, demo_key

EXPIRED = "API Key expirada"
FOREIGN = "API Key no tiene acceso a este recurso"


def test_a_missing_key_is_401_with_the_words_of_the_contract(client):
    answer = client.get(headers={})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Este endpoint requiere autenticacion con API Key (header X-API-Key)"}


def test_an_unknown_key_is_401(client):
    answer = client.get(headers={"X-API-Key": "mindo_global_other"})
    assert (answer.status_code, answer.json()["detail"]) == (401, EXPIRED)


def test_a_key_is_checked_before_the_parameters(client):
    assert client.get(headers={}, company_id="x").status_code == 401


def test_a_scoped_key_reads_its_own_company(client, emulator, compare):
    client.key = demo_key(57)
    assert len(client.key) == len("mindo_") + 24
    compare(client.rows(company_id=57), emulator.world.truth(57))


@pytest.mark.parametrize("asked", ["42", "57,42"])
def test_a_scoped_key_is_403_for_another_company(client, asked):
    client.key = demo_key(57)
    answer = client.get(company_id=asked)
    assert (answer.status_code, answer.json()["detail"]) == (403, FOREIGN)


def test_an_unknown_company_is_404_for_a_global_key(client):
    assert client.get(company_id="42,9").status_code == 404


def test_business_info_belongs_to_the_key(client):
    client.key = demo_key(57)
    info = client.get(BUSINESS_PATH).json()
    assert (info["id"], info["timezone"], info["companyTypes"]) == (57, "Europe/Madrid", ["CLINIC"])
    assert set(info) == {
        "id", "name", "email", "phone", "website", "address", "description", "timezone", "companySize",
        "companySizeDisplay", "companyTypes", "categories",
    }  # fmt: skip


def test_business_info_needs_a_scoped_key(client):
    assert client.get(BUSINESS_PATH, headers={}).status_code == 401
    assert client.get(BUSINESS_PATH, headers={"X-API-Key": GLOBAL_DEMO_KEY}).status_code == 403


def test_a_revoked_key_is_401_until_it_is_restored(client, emulator):
    client.key = demo_key(63)
    assert client.get(company_id=63).status_code == 200
    emulator.keys.revoke(client.key)
    assert client.get(company_id=63).status_code == 401
    emulator.keys.restore(client.key)
    assert client.get(company_id=63).status_code == 200


def test_a_company_can_be_taken_from_a_global_key(client, emulator):
    emulator.keys.withdraw(GLOBAL_DEMO_KEY, 57)
    assert client.get(company_id=57).status_code == 403
    assert client.get(company_id=42).status_code == 200
    emulator.keys.restore(GLOBAL_DEMO_KEY)


def test_own_keys_work_and_demo_keys_can_be_left_out(start_emulator):
    _, client = start_emulator(keys={"mindo_global_mine": None, "mindo_" + "a" * 24: 42}, demo_keys=False)
    assert client.get().status_code == 401
    assert client.get(headers={"X-API-Key": "mindo_global_mine"}, company_id=57).status_code == 200
    assert client.get(headers={"X-API-Key": "mindo_" + "a" * 24}, company_id=57).status_code == 403


def test_every_answer_tells_the_time(client):
    assert "date" in client.get().headers
    assert "date" in client.get(headers={}).headers
