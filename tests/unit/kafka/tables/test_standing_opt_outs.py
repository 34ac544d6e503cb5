"""The opt-outs that stand: those of the latest record of each key."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from izin.consent import Consent, ConsentKey, OriginRank, Status
from izin.kafka.tables.standing_opt_outs import StandingOptOuts
from izin.runtime.errors import RegistryError
from izin.runtime.kafka import access_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro
from tests.support.builders import BRAND, NOON, PHONE, a_key, kafka_message

CODEC = Codec()
KEY = a_key()
OTHER_BRAND = replace(KEY, brand_code=BRAND + 1)
SECOND = int(NOON.timestamp())


def a_record(status: Status, at: datetime = NOON, key: ConsentKey = KEY) -> Any:  # noqa: ANN401  # a message
    consent = Consent(
        key=key,
        customer_id="acme",
        status=status,
        effective_at=at,
        origin_rank=OriginRank.OURS,
        event_id="0" * 36,
        origin="web",
        source="HS_WEB",
        consent_date=at,
        registrable=True,
        latest_onay_at=NOON - timedelta(days=1),
        latest_ret_at=NOON - timedelta(days=1),
    )
    value = CODEC.encode("Consent", consent_to_avro(consent))
    return kafka_message(key=key.encode(), value=value)


def erased(key: ConsentKey = KEY) -> Any:  # noqa: ANN401  # a message
    return kafka_message(key=key.encode())


def standing(*records: Any, codec: Codec = CODEC) -> StandingOptOuts:  # noqa: ANN401  # messages
    """Return what stands after ``records``."""
    access = access_of(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    found = StandingOptOuts(access, codec, {BRAND})
    assert found.take(records) == len(records)
    return found


def test_opt_out_stands_until_a_later_record_of_its_key():
    """Another opt-out, an opt-in, or its erasure."""
    later = NOON + timedelta(hours=1)
    opted_out = a_record(Status.RET)
    assert standing(opted_out).opted_out_at(KEY.encode()) == SECOND
    assert standing(opted_out, a_record(Status.RET, later)).opted_out_at(KEY.encode()) == (
        SECOND + 3600
    )
    assert standing(a_record(Status.RET, later), opted_out).opted_out_at(KEY.encode()) == SECOND
    for after in (a_record(Status.ONAY, later), erased()):
        found = standing(opted_out, after)
        assert (found.opted_out_at(KEY.encode()), len(found)) == (None, 0)
    assert len(standing(opted_out, a_record(Status.ONAY, later), opted_out)) == 1


def test_opt_in_that_had_been_an_opt_out_is_none():
    """Its record has the word too, as what was before."""
    record = a_record(Status.ONAY)
    assert b"RET" in (record.value() or b"")
    assert standing(record).opted_out_at(KEY.encode()) is None


def test_opt_outs_of_other_brands_take_no_room():
    """The file has none of theirs."""
    assert len(standing(a_record(Status.RET, key=OTHER_BRAND))) == 0


def test_recipient_of_an_opt_out_may_have_one():
    """Whatever the channel; of others a bit says at once that none stands."""
    found = standing(a_record(Status.RET))
    assert found.may_have(PHONE)
    others = [f"+90555{number:07}" for number in range(2, 1002)]
    assert sum(map(found.may_have, others)) <= 2


def test_opt_out_that_cannot_be_read_stands_since_ever():
    """Every opt-in would reverse it."""
    whole = a_record(Status.RET).value() or b""
    assert (
        standing(kafka_message(key=KEY.encode(), value=whole[:-1])).opted_out_at(KEY.encode()) == 1
    )


def test_record_whose_schema_cannot_be_fetched_waits():
    """It is taken once the registry is there."""

    class Away(Codec):
        def decode_consent(self, data: bytes) -> Consent:
            raise RegistryError(f"away: {len(data)} bytes wait")

    found = StandingOptOuts(access_of(KafkaSettings()), Away(), {BRAND})
    records = [erased(), a_record(Status.RET), erased()]
    assert found.take(records) == 1


@pytest.mark.parametrize("number", [1, 70_000])
def test_forgotten_key_leaves_the_others(number: int):
    """Each record is forgotten, then noted: no slot is lost."""
    keys = [a_key(recipient=f"+90555{one:07}") for one in range(number, number + 300)]
    records = [a_record(Status.RET, key=one) for one in keys]
    found = standing(*records, *records[::2], *[erased(one) for one in keys[::3]])
    left = [one for one in keys if found.opted_out_at(one.encode()) == SECOND]
    assert (len(left), len(found)) == (200, 200)
