"""What a key may do at an endpoint, as a table; and the directory of keys.

The opt-outs that stand: those of the latest record of each key.

Positions of another topic or cluster say nothing: their offsets are of other records.
"""

import hmac
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.requests import Request

from izin.consent import Consent, ConsentKey, OriginRank, Status
from izin.kafka.clients import TopicIdentities, access_of
from izin.kafka.tables import api_keys as directory_module
from izin.kafka.tables.api_keys import (
    STALE_AFTER,
    Freshness,
    Outside,
    authorised,
    decide,
    freshness_of,
    outside,
)
from izin.kafka.tables.latest_records import ForeignTokenError, check_token, taken_below
from izin.kafka.tables.standing_opt_outs import StandingOptOuts
from izin.runtime.errors import RegistryError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition
from izin.schemas.records import consent_to_avro
from izin.schemas.topics import Topics
from tests.support.builders import (
    API_KEY,
    BRAND,
    CUSTOMER,
    KEY_ID,
    NOON,
    PHONE,
    SECRET_HASH,
    a_key,
    a_second_key,
    an_api_key,
    kafka_message,
    known,
)

SECOND = timedelta(seconds=1)
EVERY = frozenset(map(str, Scope))
KEYS: dict[str, ApiKey | None] = {
    "valid": an_api_key(scopes=EVERY),
    "without the scope": an_api_key(scopes=frozenset({"shred"})),
    "expired": an_api_key(scopes=EVERY, expires_at=NOON),
    "revoked": an_api_key(scopes=EVERY, revoked_at=NOON),
    "unknown": None,
}
ALLOWED = "allowed"
FRESH = {
    "valid": ALLOWED,
    "without the scope": "Not permitted",
    "expired": "Not authorised",
    "revoked": "Not authorised",
    "unknown": "Not authorised",
}
TABLE: dict[Freshness, dict[str, str]] = {
    Freshness.NOT_READ: dict.fromkeys(KEYS, "Starting"),
    Freshness.STALE: FRESH | {"valid": "Keys not up to date"},
    Freshness.FRESH: FRESH,
}
"""What becomes of a request that needs any scope but publish, by freshness and key."""
PUBLISHING = TABLE | {Freshness.STALE: FRESH}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("freshness", Freshness)
@pytest.mark.parametrize("scope", Scope)
def test_decision_is_that_of_the_table(scope: Scope, freshness: Freshness, key: str) -> None:
    """Every scope, freshness and key; where the keys are stale, only publishing goes on."""
    table = PUBLISHING if scope is Scope.PUBLISH else TABLE
    decided = decide(scope, freshness, KEYS[key], NOON)
    assert (ALLOWED if isinstance(decided, ApiKey) else decided.title) == table[freshness][key]


@pytest.mark.parametrize("age", [None, 0.0, STALE_AFTER.total_seconds() + 1])
@pytest.mark.parametrize("scope", Scope)
def test_request_that_waits_for_the_keys_is_answered_503(scope: Scope, age: float | None) -> None:
    """With an instant to come again; and one whose keys are known well enough has its key."""
    keys, key = known(an_api_key(scopes=EVERY), age=age), an_api_key(scopes=EVERY)
    headers = [(b"authorization", f"Bearer {API_KEY}".encode())]
    request = Request({"type": "http", "headers": headers})
    if age == 0 or (age is not None and scope is Scope.PUBLISH):
        assert authorised(request, keys, scope, now=NOON) == key
        return
    with pytest.raises(RequestRefusedError) as refused:
        authorised(request, keys, scope, now=NOON)
    assert refused.value.text.status == 503
    assert int(refused.value.response().headers["Retry-After"]) > 0


def test_keys_are_stale_after_a_minute() -> None:
    """And before the first read nothing is known of them."""
    limit = STALE_AFTER.total_seconds()
    assert freshness_of(None) is Freshness.NOT_READ
    assert freshness_of(limit) is Freshness.FRESH
    assert freshness_of(limit + 0.1) is Freshness.STALE


def test_endpoint_is_ready_once_the_keys_are_read() -> None:
    """Also where they are stale: it publishes on, and another would be as stale."""
    ages = {None: 1, 0.0: 0, 1e6: 0}
    assert {age: len(known(age=age).faults()) for age in ages} == ages


@pytest.mark.parametrize(
    ("cut", "customer", "brand", "channel", "expected"),
    [
        ({}, CUSTOMER, BRAND, "MESAJ", None),
        ({}, "beta", BRAND, "MESAJ", Outside.BRAND),
        ({"brands": frozenset({BRAND})}, CUSTOMER, BRAND, "MESAJ", None),
        ({"brands": frozenset({BRAND})}, CUSTOMER, 100002, "MESAJ", Outside.BRAND),
        ({"brands": frozenset({BRAND})}, "beta", BRAND, "MESAJ", Outside.BRAND),
        ({"channels": frozenset({"MESAJ"})}, CUSTOMER, BRAND, "MESAJ", None),
        ({"channels": frozenset({"MESAJ"})}, CUSTOMER, BRAND, "ARAMA", Outside.CHANNEL),
        ({"customers": frozenset({CUSTOMER, "beta"})}, "beta", 100002, "ARAMA", None),
    ],
)
def test_record_outside_the_key_is_named(
    cut: dict[str, object], customer: str, brand: int, channel: str, expected: Outside | None
) -> None:
    """By its customer, brand or channel; nothing named is all of the customers'."""
    key = an_api_key(**cut)
    assert outside(key, customer_id=customer, brand_code=brand, channel=channel) is expected


def test_key_is_found_by_its_whole_text_alone() -> None:
    """Neither an id nor another key's secret opens anything."""
    text, second = a_second_key()
    keys = known(an_api_key(), second)
    assert keys.find(API_KEY) == an_api_key()
    assert keys.find(text) == second
    crossed = f"izin_{second.id}_{API_KEY.removeprefix(f'izin_{KEY_ID}_')}"
    unknown = API_KEY.replace(KEY_ID, "ffffffffffff-1")
    for wrong in ("", KEY_ID, f"izin_{KEY_ID}_", crossed, unknown, API_KEY + "A", API_KEY[:-1]):
        assert keys.find(wrong) is None


def test_each_key_is_compared_once_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the id is known or not: hashes of one length, by the comparison made for it."""
    compare = Mock(wraps=hmac.compare_digest)
    monkeypatch.setattr(directory_module, "compare_digest", compare)
    keys = known(an_api_key())
    for text in (API_KEY, API_KEY.replace(KEY_ID, "ffffffffffff-1"), "", "izin_x_y"):
        keys.find(text)
    assert [[*map(len, one.args)] for one in compare.call_args_list] == [[len(SECRET_HASH)] * 2] * 4


def test_revoked_key_never_becomes_valid_again() -> None:
    """A page of the outbox may be published twice: the key's first record comes again."""
    keys = known()
    key, revoked = an_api_key(), an_api_key(revoked_at=NOON)
    for one in (key, revoked, key):
        keys.put(one.to_avro())
    assert keys.find(API_KEY) == revoked


def test_unreadable_record_removes_its_key() -> None:
    """It may be the revocation; the other keys stay."""
    text, second = a_second_key()
    keys = known(an_api_key(), second)
    keys.unreadable(KEY_ID.encode())
    keys.remove(b"\xff")
    assert (keys.find(API_KEY), keys.find(text)) == (None, second)
    assert len(keys) == 1


CODEC = Codec()
KEY = a_key()
OTHER_BRAND = replace(KEY, brand_code=BRAND + 1)
SECOND_OF_NOON = int(NOON.timestamp())


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
    assert standing(opted_out).opted_out_at(KEY.encode()) == SECOND_OF_NOON
    assert standing(opted_out, a_record(Status.RET, later)).opted_out_at(KEY.encode()) == (
        SECOND_OF_NOON + 3600
    )
    assert (
        standing(a_record(Status.RET, later), opted_out).opted_out_at(KEY.encode())
        == SECOND_OF_NOON
    )
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
    assert sum(map(found.may_have, [f"+90555{number:07}" for number in range(2, 1002)])) <= 2


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
    assert found.take([erased(), a_record(Status.RET), erased()]) == 1


@pytest.mark.parametrize("number", [1, 70_000])
def test_forgotten_key_leaves_the_others(number: int):
    """Each record is forgotten, then noted: no slot is lost."""
    keys = [a_key(recipient=f"+90555{one:07}") for one in range(number, number + 300)]
    records = [a_record(Status.RET, key=one) for one in keys]
    found = standing(*records, *records[::2], *[erased(one) for one in keys[::3]])
    left = [one for one in keys if found.opted_out_at(one.encode()) == SECOND_OF_NOON]
    assert (len(left), len(found)) == (200, 200)


TOPICS = Topics()
NAMES = [TOPICS.events.name, TOPICS.express.name, TOPICS.decisions.name]
IDENTITIES = TopicIdentities(
    cluster_id="cluster",
    topic_ids={name: f"id of {name}" for name in NAMES},
    partitions=dict.fromkeys(NAMES, 4),
)
POSITIONS: dict[str, Any] = {
    "cluster_id": "cluster",
    "decisions_topic_id": f"id of {TOPICS.decisions.name}",
    "decisions_offsets": [0, 101],
}


def test_ledger_says_how_far_it_is() -> None:
    """By partition; nothing where it has said nothing."""
    assert taken_below(POSITIONS, TOPICS, IDENTITIES) == {0: 0, 1: 101}
    assert taken_below(None, TOPICS, IDENTITIES) == {}


@pytest.mark.parametrize("name", ["cluster_id", "decisions_topic_id"])
def test_ledger_of_another_topic_does_not_count(name: str) -> None:
    """It was deleted and created again, and its offsets mean nothing."""
    assert taken_below(POSITIONS | {name: "other"}, TOPICS, IDENTITIES) == {}


@pytest.mark.parametrize(("topic", "partition"), [("other-consent-events", 0), (NAMES[0], 4)])
def test_token_of_another_installation_is_refused(topic: str, partition: int) -> None:
    """To wait for it would never end."""
    check_token([LogPosition(NAMES[0], 3, 1)], TOPICS, IDENTITIES)
    with pytest.raises(ForeignTokenError):
        check_token([LogPosition(topic, partition, 1)], TOPICS, IDENTITIES)
