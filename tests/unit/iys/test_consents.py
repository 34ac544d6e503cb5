from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from izin.consent import Channel, NaiveInstantError, RecipientType, Source, Status
from izin.iys.errors import UnreadableError, Verdict
from izin.iys.wire_format import (
    AcceptedBatch,
    BatchItemResult,
    BrandSummary,
    ConsentItem,
    IysMovement,
    JsonReader,
    MovementPage,
    PushRegistration,
    RegisterRecord,
    Subscription,
    from_turkish,
    parse_json,
    readers,
)
from izin.iys.wire_format.batches import ItemStatus
from izin.iys.wire_format.json_reader import to_turkish

NOON = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
TRANSACTION = "ab" * 32


def an_item(**more: object) -> ConsentItem:
    return ConsentItem(
        **{
            "recipient": "+905550000001",
            "type": Channel.MESAJ,
            "status": Status.ONAY,
            "source": Source.HS_WEB,
            "consent_date": NOON,
            **more,
        }
    )  # type: ignore[arg-type]


def a_movement(**more: object) -> dict[str, object]:
    return {
        "consentDate": "2026-03-02 12:00:00",
        "creationDate": "2026-03-02 12:00:07",
        "source": "IYS_WEB",
        "recipient": "Ada@Example.com",
        "recipientType": "BIREYSEL",
        "status": "RET",
        "type": "EPOSTA",
        "transactionId": TRANSACTION,
        **more,
    }


def test_item_omits_fields_without_a_value():
    """İYS refuses empty and null fields, so they are absent."""
    assert an_item().to_body() == {
        "recipient": "+905550000001",
        "type": "MESAJ",
        "source": "HS_WEB",
        "status": "ONAY",
        "consentDate": "2026-03-02 12:00:00",
        "recipientType": "BIREYSEL",
    }


def test_item_has_the_fields_that_have_a_value():
    """Retailers are numbers; the law requires no consent of a TACIR, so its date may be absent."""
    body = an_item(retailer_code=55550127, retailer_access=(58795354,)).to_body()
    assert (body["retailerCode"], body["retailerAccess"]) == (55550127, [58795354])
    tacir = {"recipient_type": RecipientType.TACIR, "source": None, "consent_date": None}
    first = an_item(**tacir, retailer_access=()).to_body()
    assert set(first) == {"recipient", "type", "status", "recipientType"}


CREATED = datetime(2026, 3, 2, 9, 0, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "change", "fields"),
    [
        (RegisterRecord, {}, {"recipient": "ada@example.com", "status": "RET"}),
        (RegisterRecord, {"retailerCode": "55550127"}, {"retailer_code": 55550127}),
        (RegisterRecord, {"consentDate": ""}, {"consent_date": None, "creation_date": CREATED}),
        (IysMovement, {}, {"recipient": "ada@example.com", "brand_code": None}),
        (IysMovement, {"source": "IYS_TOMORROW"}, {"source": "IYS_TOMORROW"}),
        (
            IysMovement,
            {"source": "IYS_AHS_HAT_KAPATMA", "consentDate": ""},
            {"consent_date": None, "creation_date": CREATED},
        ),
    ],
)
def test_record_of_iys_is_read(
    kind: type[RegisterRecord | IysMovement], change: dict[str, object], fields: dict[str, object]
):
    """With instants of UTC. İYS adds sources without notice, and a closed line has an empty date of
    consent: it counts from its creation date all the same.
    """
    found = kind.read(JsonReader(a_movement(**change)))
    assert {name: getattr(found, name) for name in fields} == fields


def test_item_with_a_naive_date_is_refused():
    """A deadline depends on the date, so it needs a time zone."""
    with pytest.raises(NaiveInstantError):
        an_item(consent_date=NOON.replace(tzinfo=None))


def test_accepted_batch_is_in_the_order_sent():
    """Either spelling of the sub-request is the same field."""
    items = [
        {"subRequestId": "s-0", "recipient": "+905550000001", "type": "MESAJ", "status": "ONAY"},
        {"subrequestId": "s-1", "recipient": "Ada@example.com", "type": "EPOSTA"},
    ]
    batch = AcceptedBatch.read(JsonReader({"requestId": "r-1", "subRequests": items}))

    assert batch.sub_request_ids == ("s-0", "s-1")


def test_successful_item_has_a_receipt():
    """What was saved has İYS's id and clock."""
    original = {"requestId": "r-0", "subrequestId": "s-0"}
    result = BatchItemResult.read(_SAVED | {"originalRequestInformation": original})
    assert (result.verdict, result.receipt.creation_date) == (Verdict.SUCCESS, CREATED)
    assert result.is_original
    assert not BatchItemResult.read(_SAVED).is_original


_SAVED = {
    "requestId": "r-1",
    "subRequestId": "s-1",
    "index": 1,
    "transactionId": TRANSACTION,
    "status": "success",
    "creationDate": "2026-03-02 12:00:07",
    "isAddConsentV2Service": True,
}


@pytest.mark.parametrize(
    ("item", "status", "code", "verdict"),
    [
        ({"status": "failure", "error": {"code": "H175"}}, "failure", "H175", Verdict.ALREADY),
        ({"status": "failure"}, "failure", None, Verdict.UNKNOWN),
        ({"status": "enqueue", "index": "2"}, ItemStatus.ENQUEUE, None, None),
    ],
)
def test_item_without_a_receipt_has_its_verdict(
    item: dict[str, object], status: str, code: str | None, verdict: Verdict | None
):
    """A failure is read from its code, and one without a reason decides nothing; what İYS has not
    decided, neither do we.
    """
    result = BatchItemResult.read({"subRequestId": "s-1", **item})
    assert (result.status, result.code, result.verdict, result.receipt) == (
        *(status, code, verdict),
        None,
    )


@pytest.mark.parametrize(
    "others",
    [
        {"status": "SUCCESS"},
        {"index": "1"},
        {"transactionId": f" {TRANSACTION} "},
        {"extra": None},
        {"originalRequestInformation": None},
    ],
)
def test_successful_item_is_the_same_in_any_form(others: dict[str, object]):
    """The usual shape has a fast path; both give the same."""
    assert BatchItemResult.read(_SAVED | others) == BatchItemResult.read(_SAVED)


def test_result_that_cannot_be_read_hides_no_other():
    """One that names its item is a failure without a code: İYS is queried about it."""
    broken = {"subRequestId": "s-2", "status": "maybe"}
    found = BatchItemResult.read_all([broken, _SAVED, {"status": "success"}, 7])
    assert [(one.sub_request_id, one.verdict) for one in found] == [
        ("s-2", Verdict.UNKNOWN),
        ("s-1", Verdict.SUCCESS),
    ]
    with pytest.raises(UnreadableError):
        BatchItemResult.read_all({"subRequestId": "s-1"})


def test_page_has_every_movement_that_can_be_read():
    """The others are handed over as İYS wrote them; the cursor is opaque."""
    after = f"1597740617_{TRANSACTION}"
    items = [a_movement(), a_movement(creationDate="today")]
    page = MovementPage.read(JsonReader({"after": after, "list": items}))
    assert (page.after, len(page.movements), len(page.unreadable)) == (after, 1, 1)
    assert b"today" in page.unreadable[0].raw


def test_citizen_name_is_never_read():
    """A citizen's name is personal data that nothing here needs."""
    assert "Ada" not in repr(IysMovement.read(JsonReader(a_movement(citizenName="Ada Örnek"))))


def test_brand_is_read_with_its_counts():
    """Codes come as numbers or as texts."""
    brand = BrandSummary.read(
        JsonReader(
            {
                "brandCode": "100001",
                "stats": {"consents": {"approval": 22, "rejection": 1, "total": 23}},
                "name": "Örnek",
                "master": True,
            }
        )
    )

    assert (brand.brand_code, brand.is_master) == (100001, True)
    assert (brand.approvals, brand.rejections) == (22, 1)
    assert BrandSummary.read(JsonReader({"brandCode": 100001})).approvals is None


@pytest.mark.parametrize(("limit", "used"), [(5, 4), (None, None)])
def test_subscription_has_its_limits(limit: int | None, used: int | None):
    """A business partner is not shown them."""
    subscription = {
        "subsciprtionId": "s-1",
        "status": "ACTIVE",
        "startDate": "2026-01-01 00:00:00",
        "expirationDate": "2026-12-31 23:59:59",
        "consentLimit": limit,
        "usedConsentLimit": used,
        "consentLimitExceed": None,
    }

    found = Subscription.read(JsonReader(subscription))

    assert (found.status, found.consent_limit, found.used) == ("ACTIVE", limit, used)


def test_push_registration_is_read():
    """İYS lists connections with a sentence as their status."""
    movement = {
        "url": "https://push.example.com/iys",
        "type": "ARAMA",
        "registerTime": "2026-03-02 12:00:00",
        "status": "Bağlantı Oluşturuldu",
    }

    assert PushRegistration.read(JsonReader(movement)).registered_at == NOON


def test_turkish_time_converts_both_ways():
    """İYS's clock is three hours ahead of UTC, summer and winter. The fraction is cut and never
    rounded up, for a date ahead is refused.
    """
    instant = datetime(2026, 1, 31, 21, 30, 5, tzinfo=UTC)
    assert to_turkish(instant) == "2026-02-01 00:30:05"
    assert from_turkish("2026-02-01 00:30:05") == instant
    elsewhere = datetime(2026, 7, 1, 8, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert to_turkish(elsewhere) == "2026-07-01 09:00:00"


@pytest.mark.parametrize(
    ("fields", "read", "value"),
    [
        *(
            ({name: "a-1"}, lambda it: it.text("subRequestId"), "a-1")
            for name in ("subRequestId", "subrequestId", "SUBREQUESTID")
        ),
        *(({"code:": one}, JsonReader.code, "H351") for one in ("H351", "h351", " H351 ", "351")),
        ({"code:": 351}, JsonReader.code, "H351"),
        ({"code:": 15}, JsonReader.code, "H015"),
        ({"code:": "1" * 5000}, JsonReader.code, "H" + "1" * 5000),
        ({"consentDate": ""}, JsonReader.code, None),
        ({"consentDate": ""}, lambda it: it.instant_or_none("consentDate"), None),
        ({"source": None}, lambda it: it.text_or_none("source"), None),
        ({"master": True}, lambda it: it.boolean_or_none("master"), True),
        ({"master": "true"}, lambda it: it.boolean_or_none("master"), True),
        ({"master": "false"}, lambda it: it.boolean_or_none("master"), False),
        ({"recipient": "Ada@Example.COM"}, JsonReader.recipient, "ada@example.com"),
        ({"recipient": "+905550000001"}, JsonReader.recipient, "+905550000001"),
    ],
    ids=lambda one: None if callable(one) else str(one)[:40],
)
def test_value_is_read_in_any_form_that_iys_has(
    fields: dict[str, object], read: Callable[[JsonReader], object], value: object
):
    """A key in any case; a code as text or number, of any length, though Python refuses to read
    such a number; an empty text as none; a Boolean as text; a recipient as İYS stores it.
    """
    assert read(JsonReader(fields)) == value


def test_empty_response_is_none():
    """A missing value differs from a wrong one."""
    assert parse_json(b" \n") is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"list": ["a\\ud800b", "c"]}', "a\ufffdb"),
        (b'{"list": ["a\xffb", "c"]}', "a\ufffdb"),
        (b'{"list": ["a\x01b", "c"]}', "a\x01b"),
        (b'{"list": ["\xff", "c"], "n": ' + b"1" * 5000 + b"}", "\ufffd"),
        (b'{"list": ["\\ud83d\\ude00\\udc00", "c"]}', "\U0001f600\ufffd"),
    ],
)
def test_character_that_is_none_costs_no_other_text(body: bytes, text: str):
    """One recipient's text must not make a whole page unreadable."""
    found = parse_json(body)
    assert found["list"] == [text, "c"]
    assert orjson.dumps(found)


@pytest.mark.parametrize(
    "read",
    [
        *(
            lambda body=body: parse_json(body)
            for body in (b"<html>", b"[" * 100_000, b'{"a": ', b"\xff\xfe", b'{"list": [1,]}')
        ),
        lambda: readers({"list": []}),
        lambda: JsonReader([]),
        *(
            lambda text=text: from_turkish(text)
            for text in (
                "",
                "2026-15-01 00:00:00",
                "01.02.2026",
                "2026-02-01",
                "0001-01-01 00:00:00",
            )
        ),
        *(
            lambda value=value, read=read: read(JsonReader({"text": value}), "text")
            for value, read in (
                ({"a": 1}, JsonReader.text),
                (None, JsonReader.text),
                ("many", JsonReader.integer),
                (None, JsonReader.integer),
                ("word", JsonReader.texts),
                (["not", "an", "object"], JsonReader.object_or_none),
            )
        ),
        *(
            lambda change=change: BatchItemResult.read(_SAVED | change)
            for change in (
                *({"transactionId": ""}, {"creationDate": ""}),
                *({"subRequestId": ""}, {"status": "?"}),
            )
        ),
    ],
)
def test_what_is_not_as_expected_is_unreadable(read: Callable[[], object]):
    """A page of a firewall, a body that is cut, nested without end or in another encoding, a wrong
    date, a value of another type; nothing is taken as saved without its receipt.
    """
    with pytest.raises(UnreadableError):
        read()
