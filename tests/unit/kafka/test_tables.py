"""What a key may do at an endpoint, as a table; and the directory of keys.

The opt-outs that stand: those of the latest record of each key.

Positions of another topic or cluster say nothing: their offsets are of other records.

The packed table says of each key what a dict would, in a fraction of its memory.

The few fields of a permission, found in its bytes: what decoding says, for every version.
"""

import hmac
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from unittest.mock import Mock

import pytest
from fastavro import schemaless_writer
from hypothesis import given, strategies as st
from starlette.requests import Request

from izin.consent import (
    SYNTHETIC_BRAND,
    SYNTHETIC_CUSTOMER,
    Consent,
    ConsentKey,
    OriginRank,
    Status,
)
from izin.kafka.clients import TopicIdentities, access_of
from izin.kafka.tables import api_keys as directory_module, permission_reader
from izin.kafka.tables.active_opt_outs import ActiveOptOuts
from izin.kafka.tables.api_keys import (
    STALE_AFTER,
    Freshness,
    Outside,
    authorised,
    decide,
    freshness_of,
    outside,
)
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.kafka.tables.latest_records import ForeignTokenError, check_token, taken_below
from izin.kafka.tables.packed_permissions import (
    Known,
    PackedPermissions,
    PermissionFacts,
    digest_of,
)
from izin.kafka.tables.permission_reader import PermissionReader, facts_of
from izin.runtime.errors import RegistryError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import KafkaSettings
from izin.schemas import contracts
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.consistency_token import LogPosition
from izin.schemas.contracts import Contract, Schema
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


def active_opt_outs(*records: Any, codec: Codec = CODEC) -> ActiveOptOuts:  # noqa: ANN401  # messages
    """Return what stands after ``records``."""
    access = access_of(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    found = ActiveOptOuts(access, codec, {BRAND})
    assert found.take(records) == len(records)
    return found


def test_opt_out_stands_until_a_later_record_of_its_key():
    """Another opt-out, an opt-in, or its erasure."""
    later = NOON + timedelta(hours=1)
    opted_out = a_record(Status.RET)
    assert active_opt_outs(opted_out).opted_out_at(KEY.encode()) == SECOND_OF_NOON
    assert active_opt_outs(opted_out, a_record(Status.RET, later)).opted_out_at(KEY.encode()) == (
        SECOND_OF_NOON + 3600
    )
    assert (
        active_opt_outs(a_record(Status.RET, later), opted_out).opted_out_at(KEY.encode())
        == SECOND_OF_NOON
    )
    for after in (a_record(Status.ONAY, later), erased()):
        found = active_opt_outs(opted_out, after)
        assert (found.opted_out_at(KEY.encode()), len(found)) == (None, 0)
    assert len(active_opt_outs(opted_out, a_record(Status.ONAY, later), opted_out)) == 1


def test_opt_in_that_had_been_an_opt_out_is_none():
    """Its record has the word too, as what was before."""
    record = a_record(Status.ONAY)
    assert b"RET" in (record.value() or b"")
    assert active_opt_outs(record).opted_out_at(KEY.encode()) is None


def test_opt_outs_of_other_brands_take_no_room():
    """The file has none of theirs."""
    assert len(active_opt_outs(a_record(Status.RET, key=replace(KEY, brand_code=BRAND + 1)))) == 0


def test_recipient_of_an_opt_out_may_have_one():
    """Whatever the channel; of others a bit says at once that none stands."""
    found = active_opt_outs(a_record(Status.RET))
    assert found.may_have(PHONE)
    assert sum(map(found.may_have, [f"+90555{number:07}" for number in range(2, 1002)])) <= 2


def test_opt_out_that_cannot_be_read_stands_since_ever():
    """Every opt-in would reverse it."""
    whole = a_record(Status.RET).value() or b""
    assert (
        active_opt_outs(kafka_message(key=KEY.encode(), value=whole[:-1])).opted_out_at(
            KEY.encode()
        )
        == 1
    )


def test_record_whose_schema_cannot_be_fetched_waits():
    """It is taken once the registry is there."""
    away = Codec()
    away.decode_consent = Mock(side_effect=RegistryError("away"))  # type: ignore[method-assign]
    found = ActiveOptOuts(access_of(KafkaSettings()), away, {BRAND})
    assert found.take([erased(), a_record(Status.RET), erased()]) == 1


@pytest.mark.parametrize("number", [1, 70_000])
def test_forgotten_key_leaves_the_others(number: int):
    """Each record is forgotten, then noted: no slot is lost."""
    keys = [a_key(recipient=f"+90555{one:07}") for one in range(number, number + 300)]
    records = [a_record(Status.RET, key=one) for one in keys]
    found = active_opt_outs(*records, *records[::2], *[erased(one) for one in keys[::3]])
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


KEY_BYTES = b"100001/MESAJ/BIREYSEL/+905550000001"
OTHER = b"100001/MESAJ/BIREYSEL/+905550000002"
VERSIONS: Sequence[Contract] = sorted(
    (one for one in contracts.known().values() if one.record == "Permission"),
    key=lambda one: len(one.schema["fields"]),
)
CURRENT = contracts.current()["Permission"]
INSTANTS = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001  # hypothesis adds the time zone
    datetime(2100, 1, 1),  # noqa: DTZ001  # the same
    timezones=st.just(UTC),
).map(lambda one: one.replace(microsecond=one.microsecond // 1000 * 1000))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
PERMISSIONS = st.fixed_dictionaries(
    {
        "customer_id": TEXTS,
        "brand_code": st.integers(-(2**31), 2**31 - 1),
        "type": TEXTS,
        "recipient_type": TEXTS,
        "recipient": TEXTS,
        "may_send": st.booleans(),
        "reason": TEXTS,
        "desired": st.none() | TEXTS,
        "registered": TEXTS,
        "registered_at": st.none() | INSTANTS,
        "consent_date": st.none() | INSTANTS,
        "since": INSTANTS,
        "previous_may_send": st.none() | st.booleans(),
        "retailers": st.none() | TEXTS,
    }
)
A_PERMISSION: dict[str, Any] = {
    "customer_id": "acme",
    "brand_code": 100001,
    "type": "MESAJ",
    "recipient_type": "BIREYSEL",
    "recipient": "+905550000001",
    "may_send": True,
    "reason": "registered",
    "desired": "ONAY",
    "registered": "ONAY",
    "registered_at": datetime(2026, 3, 2, tzinfo=UTC),
    "consent_date": None,
    "since": datetime(2026, 3, 3, tzinfo=UTC),
    "previous_may_send": None,
    "retailers": "1,2",
}


@pytest.fixture
def table() -> PackedPermissions:
    """Return a table of no key."""
    return PackedPermissions()


def test_unknown_key_is_not_known(table: PackedPermissions):
    """And removing it changes nothing."""
    assert table.find(KEY_BYTES) is None
    assert not table.remove(KEY_BYTES)


def test_permission_and_denial_replace_one_another(table: PackedPermissions):
    """What is returned says whether the answer, or its reason, is another."""
    assert table.permit(KEY_BYTES, "registered", 10)
    assert not table.permit(KEY_BYTES, "registered", 20)
    assert table.find(KEY_BYTES) == Known(may_send=True, reason="registered", at=20)
    assert table.deny(KEY_BYTES, "void")
    assert not table.deny(KEY_BYTES, "void")
    assert table.find(KEY_BYTES) == Known(may_send=False, reason="void", at=0)
    assert len(table) == 1
    assert not table.remove(KEY_BYTES)
    assert (table.find(KEY_BYTES), len(table)) == (None, 0)


@pytest.mark.parametrize(("consent_at", "may_send"), [(9, False), (10, False), (11, True)])
def test_consent_must_be_newer_than_the_opt_out(consent_at: int, may_send: bool):
    """In whichever order they are read; the same second is not newer."""
    first, second = PackedPermissions(), PackedPermissions()
    first.opt_out(KEY_BYTES, 10)
    first.permit(KEY_BYTES, "registered", consent_at)
    second.permit(KEY_BYTES, "registered", consent_at)
    second.opt_out(KEY_BYTES, 10)
    for table in (first, second):
        known = table.find(KEY_BYTES)
        assert known.may_send is may_send
        assert known.reason == ("registered" if may_send else "opted-out")


def test_opt_out_outlives_denials_and_erasure(table: PackedPermissions):
    """The ledger's reason is shown; its later permission by an old consent is not believed."""
    table.permit(KEY_BYTES, "registered", 5)
    assert table.opt_out(KEY_BYTES, 10)
    assert not table.opt_out(KEY_BYTES, 8)
    assert table.deny(KEY_BYTES, "awaiting-iys")
    assert table.remove(KEY_BYTES), "nothing but the opt-out is known of an erased key"
    assert table.find(KEY_BYTES) == Known(may_send=False, reason="opted-out", at=10)
    assert not table.remove(KEY_BYTES)
    assert not table.permit(KEY_BYTES, "registered", 7)
    assert table.find(KEY_BYTES) == Known(may_send=False, reason="opted-out", at=10)
    assert table.opt_out(KEY_BYTES, 12) is False
    assert not table.permit(KEY_BYTES, "registered", 12)
    assert table.permit(KEY_BYTES, "registered", 13)


def test_new_reasons_are_kept_until_there_are_too_many(table: PackedPermissions):
    """A later release may add some; a table of them has an end."""
    for number in range(200):
        table.deny(str(number).encode(), f"reason-{number}")
    reasons = [known.reason for one in range(200) if (known := table.find(str(one).encode()))]
    assert reasons[0] == "reason-0"
    assert reasons[-1] == ""
    assert len(set(reasons)) > 100


Step = tuple[str, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["permit", "deny", "opt_out", "remove"]),
            st.integers(0, 3),
            st.integers(1, 5),
        )
    )
)
def test_table_agrees_with_a_dict(steps: list[Step]):
    """Whatever comes in whatever order."""
    table = PackedPermissions()
    model: dict[bytes, tuple[bool, int]] = {}
    for step, number, at in steps:
        key = b"key-%d" % number
        may_send, known_at = model.get(key, (False, 0))
        match step:
            case "permit":
                table.permit(key, "registered", at)
                if may_send or at > known_at:
                    model[key] = (True, at)
            case "deny":
                table.deny(key, "void")
                model[key] = (False, 0 if may_send else known_at)
            case "opt_out":
                table.opt_out(key, at)
                if at >= known_at:
                    model[key] = (False, at)
            case _:
                table.remove(key)
                if may_send or not known_at:
                    model.pop(key, None)
    for number in range(4):
        key = b"key-%d" % number
        known = table.find(key)
        assert (known.may_send if known else False) == model.get(key, (False, 0))[0]
    assert len(table) == len(model)


def test_key_takes_few_bytes(table: PackedPermissions):
    """Of a hundred thousand keys, with what the buckets have reserved to grow."""
    for number in range(100_000):
        table.permit(b"100001/MESAJ/BIREYSEL/+905550%06d" % number, "registered", 5)
    assert 21 < sys.getsizeof(table) / 100_000 < 30
    assert table.size == pytest.approx(sys.getsizeof(table), rel=0.2)


def test_more_buckets_say_the_same():
    """They make a search shorter."""
    table = PackedPermissions(1 << 16)
    keys = [str(number).encode() for number in range(1000)]
    for key in keys:
        table.permit(key, "registered", 5)
    assert all(table.find_digest(digest_of(key)) == Known(True, "registered", 5) for key in keys)
    assert len(table) == 1000


def test_forgotten_key_has_no_opt_out_either():
    """Unlike one that is removed."""
    table = PackedPermissions(buckets=1)
    for key in (KEY_BYTES, OTHER):
        table.opt_out(key, 10)
    table.forget(KEY_BYTES)
    table.forget(KEY_BYTES)
    assert (table.find(KEY_BYTES), len(table)) == (None, 1)
    assert table.find(OTHER) == Known(may_send=False, reason="opted-out", at=10)


class Registry:
    """A schema registry that has every version, by its place."""

    def __init__(self, versions: Sequence[Contract] = VERSIONS) -> None:
        self._versions = versions

    def id_of(self, contract: Contract) -> int:
        """Return the id of a contract."""
        found = [place for place, one in enumerate(self._versions) if one is contract]
        return found[0] if found else 1000

    def schema_of(self, schema_id: int) -> Schema | None:
        """Return the schema of an id."""
        return self._versions[schema_id].schema if schema_id < len(self._versions) else None

    def close(self) -> None:
        """Do nothing."""


REGISTERED = Codec(Registry())
READERS = {codec: PermissionReader(codec) for codec in (CODEC, REGISTERED)}


def body(version: Contract, record: dict[str, Any]) -> bytes:
    """Return a record as a writer of that version writes it, without a frame."""
    out = BytesIO()
    schemaless_writer(out, version.parsed, record)
    return out.getvalue()


def refuse(*_: object) -> None:
    """Fail: the record was to be read without being decoded."""
    raise AssertionError("decoded")


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: str(len(one.schema["fields"])))
@given(record=PERMISSIONS)
def test_reader_agrees_with_the_codec(version: Contract, record: dict[str, Any]):
    """Whatever is in a record, in either framing."""
    written = body(version, record)
    single = b"\xc3\x01" + version.fingerprint + written
    confluent = struct.pack(">BI", 0, VERSIONS.index(version)) + written
    for codec, value in ((CODEC, single), (REGISTERED, single), (REGISTERED, confluent)):
        expected = facts_of(codec.decode("Permission", value))
        assert READERS[codec].read(value) == expected
    expected_at = [one for one in (record["registered_at"], record["consent_date"]) if one]
    assert expected.may_send is record["may_send"]
    assert expected.consent_at == int(min(expected_at, default=EPOCH).timestamp() // 1)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: str(len(one.schema["fields"])))
def test_no_known_version_is_decoded(version: Contract, monkeypatch: pytest.MonkeyPatch):
    """Decoding takes many times as long."""
    codec = Codec()
    monkeypatch.setattr(codec, "decode", refuse)
    value = b"\xc3\x01" + version.fingerprint + body(version, A_PERMISSION)
    at = int(A_PERMISSION["registered_at"].timestamp())
    retailers = "1,2" if version is VERSIONS[-1] else None
    assert PermissionReader(codec).read(value) == PermissionFacts(
        may_send=True, reason="registered", consent_at=at, retailers=retailers
    )


def test_other_versions_are_decoded():
    """One that has the fields in another order, and one that lacks any."""
    fields = CURRENT.schema["fields"]
    versions = [
        contracts.contract("Permission", {**CURRENT.schema, "fields": changed})
        for changed in ([fields[1], fields[0], *fields[2:]], [*fields, NEW_FIELD])
    ]
    codec = Codec(Registry(versions))
    for place, version in enumerate(versions):
        value = struct.pack(">BI", 0, place) + body(version, {**A_PERMISSION, "new": "new"})
        assert PermissionReader(codec).read(value).retailers == "1,2"


NEW_FIELD = {"name": "new", "type": "string", "default": ""}


@pytest.mark.parametrize("cut", [0, 4, 9, 10, 30, -1])
def test_cut_record_is_refused(cut: int):
    """Nothing is read of a record that is not whole, nor of one with something behind it."""
    value = b"\xc3\x01" + CURRENT.fingerprint + body(CURRENT, A_PERMISSION)
    for wrong in (value[:cut], value + b"\0"):
        with pytest.raises(UndecodableError):
            PermissionReader(CODEC).read(wrong)


@pytest.mark.interpreted
def test_new_contract_is_noticed(monkeypatch: pytest.MonkeyPatch):
    """Who adds a field sees that the walk over the fields must know it."""
    monkeypatch.setattr(permission_reader, "_LATER", ("previous_may_send",))
    with pytest.raises(ValueError, match="must have the fields"):
        PermissionReader(CODEC)


def test_earlier_instant_of_a_consent_counts():
    """An opt-out must not be later than it."""
    later = A_PERMISSION["registered_at"] + timedelta(hours=1)
    assert (
        facts_of({**A_PERMISSION, "consent_date": later}).consent_at
        == facts_of(A_PERMISSION).consent_at
    )


def test_brand_of_synthetic_opt_outs_is_in_every_directory_and_stays():
    """No record of the topic changes or removes it, and it is none of the registered ones."""
    directory = BrandDirectory()
    forged = RegisteredBrand(
        brand_code=SYNTHETIC_BRAND, iys_code=BRAND, customer_id="acme", name="forged"
    )
    directory.put(asdict(forged))
    directory.remove(str(SYNTHETIC_BRAND).encode())
    found = directory.get(SYNTHETIC_BRAND)
    assert (found.customer_id, found.suspension) == (SYNTHETIC_CUSTOMER, "of nobody")
    assert directory.customers == {SYNTHETIC_BRAND: SYNTHETIC_CUSTOMER}
    assert list(directory) == []
