"""Items: what readers get of a record, and that they get no other's."""

from typing import Any

import orjson
import pytest
from structlog.typing import EventDict

from izin.feeds.protocol import LogRecord
from izin.feeds.sources import POSITION_FIELDS, UNDECIDED, Items
from izin.runtime.settings import KafkaSettings
from izin.schemas.contracts import current
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.records import ID
from tests.contract.schemas.examples import golden
from tests.support.builders import BRAND, CUSTOMER, an_api_key, kafka_message
from tests.unit.feeds.conftest import (
    CODEC,
    OPT_OUTS,
    OUTCOMES,
    PERMISSIONS,
    a_permission,
    key_of,
    known_brands,
)

KEY = key_of(a_permission())
SETTINGS = KafkaSettings()
TOPICS = SETTINGS.topics


def a_record(value: bytes | None, *, key: bytes = KEY, **overrides: Any) -> LogRecord:  # noqa: ANN401  # of a message
    """Return a record at partition 2, offset 7."""
    return LogRecord(kafka_message(partition=2, offset=7, value=value, key=key, **overrides))


def content_of(item: object) -> dict[str, Any]:
    """Return the content of an item that is given."""
    return orjson.loads(item)


def encoded(**overrides: object) -> bytes:
    """Return an encoded permission."""
    return CODEC.encode("Permission", a_permission(**overrides))


@pytest.mark.parametrize("feed", [OPT_OUTS, PERMISSIONS, OUTCOMES])
def test_item_has_the_fields_of_the_contract_and_its_place(feed: Any) -> None:  # noqa: ANN401  # a Feed
    """Flat, and none of both is hidden by the other."""
    value = golden(feed.topic.record)
    headers = [("ce_type", b"x"), (ID, "ö-1".encode())]
    record = a_record(CODEC.encode(feed.topic.record, value), headers=headers)
    key = an_api_key(customers=frozenset({value["customer_id"]}))
    brands = known_brands({value["brand_code"]: value["customer_id"]})
    item = content_of(Items(feed, CODEC, brands).of(record, key))
    fields = [one["name"] for one in current()[feed.topic.record].schema["fields"]]
    assert list(item) == [*POSITION_FIELDS, *fields]
    assert item["id"] == "ö-1"
    assert (item["topic"], item["partition"], item["offset"]) == (feed.topic.name, 2, 7)
    assert not any(isinstance(one, dict | list) for one in item.values())


def test_tombstone_is_a_deletion_of_its_key() -> None:
    """It has no header of ours, so its place identifies it."""
    items = Items(PERMISSIONS, CODEC, known_brands({BRAND: CUSTOMER}))
    assert content_of(items.of(a_record(None), an_api_key())) == {
        "id": "permissions/2/7",
        "topic": "permissions",
        "partition": 2,
        "offset": 7,
        "key": KEY.decode(),
        "deleted": True,
    }


@pytest.mark.parametrize("value", [None, b"\1\2"])
@pytest.mark.parametrize(
    ("customers", "cut", "is_mine"),
    [
        ({BRAND: CUSTOMER}, {}, True),
        ({BRAND: "beta"}, {}, False),
        ({}, {}, False),
        ({BRAND: CUSTOMER}, {"brands": frozenset({7})}, False),
        ({BRAND: CUSTOMER}, {"channels": frozenset({"ARAMA"})}, False),
        ({BRAND: CUSTOMER}, {"channels": frozenset({"MESAJ"})}, True),
    ],
)
def test_record_without_content_is_cut_by_its_key(
    value: bytes | None,
    customers: dict[int, str],
    cut: dict[str, Any],
    is_mine: bool,
) -> None:
    """A deletion, and what cannot be read: the key says of which brand and channel it is."""
    items = Items(PERMISSIONS, CODEC, known_brands(customers))
    assert (items.of(a_record(value), an_api_key(**cut)) is not None) == is_mine


@pytest.mark.parametrize(
    ("customers", "named", "is_mine"),
    [
        ({BRAND: CUSTOMER}, CUSTOMER, True),
        ({BRAND: CUSTOMER}, "beta", True),
        ({BRAND: "beta"}, CUSTOMER, False),
        ({}, CUSTOMER, False),
        ({}, "beta", False),
    ],
)
def test_brand_says_whose_a_record_is(
    customers: dict[int, str],
    named: str,
    is_mine: bool,
) -> None:
    """A topic's writer may name any customer; the opt-out is the brand's all the same, and so is
    the customer that is shown.
    """
    items = Items(PERMISSIONS, CODEC, known_brands(customers))
    found = items.of(a_record(encoded(customer_id=named)), an_api_key())
    assert (found is not None) == is_mine
    if isinstance(found, bytes):
        assert orjson.loads(found)["customer_id"] == CUSTOMER


def test_record_of_a_brand_that_is_not_known_yet_waits_and_moves_with_it() -> None:
    """Registered just before, it is in the topic of brands, which was not read so far; a brand that
    moves takes its records along, and those of a removed one are nobody's.
    """
    brands = known_brands({})
    items, record = Items(PERMISSIONS, CODEC, brands), a_record(encoded())
    brands.complete_at = lambda: record.appended_by - 1
    assert items.of(record, an_api_key()) is UNDECIDED
    brands.put(BRAND, CUSTOMER)
    assert isinstance(items.of(record, an_api_key()), bytes)
    brands.put(BRAND, "beta")
    assert items.of(record, an_api_key()) is None
    moved = content_of(items.of(record, an_api_key(customers=frozenset({"beta"}))))
    assert moved["customer_id"] == "beta"
    brands.complete_at = lambda: float("inf")
    brands.directory.remove(str(BRAND).encode())
    assert items.of(record, an_api_key(customers=frozenset({"beta"}))) is None


def test_unreadable_record_is_given_with_its_key(logged: list[EventDict]) -> None:
    """An opt-out written by a newer release is not left out; and it is logged once."""
    items, record = (
        Items(OPT_OUTS, CODEC, known_brands({BRAND: CUSTOMER})),
        a_record(b"\xc3\x01what"),
    )
    for _ in range(3):
        item = content_of(items.of(record, an_api_key()))
    assert (item["key"], item["unreadable"]) == (KEY.decode(), True)
    assert [one["event"] for one in logged] == ["record not readable"]


@pytest.mark.parametrize("feed", [OPT_OUTS, OUTCOMES])
def test_record_of_a_log_without_a_value_is_unreadable(feed: Any) -> None:  # noqa: ANN401  # a Feed
    """Only a state has deletions: an opt-out without a value closes its key all the same."""
    items = Items(feed, CODEC, known_brands({BRAND: CUSTOMER}))
    item = content_of(items.of(a_record(None), an_api_key()))
    assert (item.get("unreadable"), "deleted" in item) == (True, False)


@pytest.mark.parametrize(
    "key",
    [
        *(b"", b"nothing", b"a/b/c/d", "١/MESAJ/BIREYSEL/x".encode()),
        *(b"9" * 5000 + b"/MESAJ/BIREYSEL/x", b"100001/MESAJ/BIREYSEL/"),
    ],
)
def test_record_without_content_and_key_is_nobodys(key: bytes, logged: list[EventDict]) -> None:
    """Nothing can be said about it, but that it is there."""
    assert (
        Items(PERMISSIONS, CODEC, known_brands({})).of(a_record(None, key=key), an_api_key())
        is None
    )
    assert [one["event"] for one in logged] == ["key not readable"]


def test_suppression_is_nobodys() -> None:
    """It stands beside the state, and is no state of a key."""
    key = SuppressionKeys(["s" * 32]).of(KEY)
    items = Items(PERMISSIONS, CODEC, known_brands({BRAND: CUSTOMER}))
    for value in (None, encoded()):
        assert items.of(a_record(value, key=key), an_api_key()) is None
