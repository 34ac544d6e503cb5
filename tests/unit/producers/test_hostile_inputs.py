"""Ten thousand hostile events at the endpoint: no crash, and no neighbour harmed."""

import sys
import unicodedata
from typing import Any

import httpx
import pytest

from izin.schemas.codec import Codec
from izin.streams.guard import AdmittedRecord, Guard
from tests.support.hostile.inputs import FORM, JSON, HostileInputs, characters
from tests.support.order.harness import fetched
from tests.unit.producers.fakes import FakePublisher

RUNS, REQUESTS, RECORDS = 5, 700, 4
"""Of the records in a request all but one are hostile."""


async def post(client: httpx.AsyncClient, body: bytes, media_type: str = JSON) -> httpx.Response:
    """Post, and check what holds of every response."""
    answer = await client.post("/v1/consents", content=body, headers={"Content-Type": media_type})
    assert answer.status_code in {202, 400, 413, 415, 422}, answer.text
    assert answer.json()
    return answer


def a_ret(number: int) -> dict[str, Any]:
    """Return a valid RET."""
    return HostileInputs.a_record("RET") | {"origin_ref": f"valid-{number}"}


@pytest.mark.parametrize("seed", range(RUNS))
async def test_hostile_records_harm_no_ret(
    client: httpx.AsyncClient, fake: FakePublisher, seed: int
):
    """A valid RET among them is always published, and so is any whose key can be read."""
    made, guard = HostileInputs(seed), Guard(Codec())
    for number in range(REQUESTS):
        records = [made.record() for _ in range(RECORDS - 2)]
        records += [made.ret(), a_ret(number)]
        body = made.body(records)
        events = (await post(client, body)).json()["events"]
        assert [one["index"] for one in events][-2:] == [RECORDS - 2, RECORDS - 1]
        assert fake.events[-1].origin_ref == f"valid-{number}"
    for one in fake.frames:
        # What was answered with 202 is no dead letter later.
        assert isinstance(guard.admit(fetched(value=one.value)), AdmittedRecord)


@pytest.mark.parametrize("seed", range(RUNS))
async def test_broken_bodies_harm_no_ret(client: httpx.AsyncClient, fake: FakePublisher, seed: int):
    """Neither do forms, nor other content types; the next request is a valid RET."""
    made = HostileInputs(seed)
    for number in range(REQUESTS // 5):
        for body in (made.body([made.record()]), made.form(made.record())):
            await post(client, made.broken(body), JSON)
            await post(client, made.broken(body), FORM)
        assert (await post(client, made.form(made.ret()), FORM)).status_code == 202
        assert (await post(client, made.body([made.ret()]))).status_code == 202
        assert (await post(client, made.body([a_ret(number)]))).status_code == 202
        assert fake.events[-1].origin_ref == f"valid-{number}"


def test_hostile_inputs_are_repeatable_and_of_every_kind():
    """The same seed gives the same inputs, and no Unicode category is missing."""
    assert HostileInputs(1).record() == HostileInputs(1).record()
    assert HostileInputs(1).event() == HostileInputs(1).event()
    categories = {unicodedata.category(chr(one)) for one in range(sys.maxunicode + 1)}
    assert set(characters()) == categories
