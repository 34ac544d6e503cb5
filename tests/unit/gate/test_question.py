"""What may stand in a question, and what is said of what may not."""

import json
from contextlib import suppress
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st

from izin.consent import Channel, MessageClass, RecipientType
from izin.gate.question import FIELDS, JSON_TYPE, AskedQuestion, read_question
from izin.runtime.http_server.problems import RequestRefusedError
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.may_send_api import LONGEST_TEXT, MOST_RECIPIENTS, ReceiptKind
from tests.support.builders import PHONE
from tests.unit.gate.conftest import a_question
from tests.unit.gate.test_verdicts import EXEMPT, JSON


def read(**overrides: object) -> AskedQuestion:
    """Return the question of a body."""
    return read_question(JSON_TYPE, json.dumps(a_question(**overrides)).encode())


def test_least_question_is_a_commercial_one():
    """About a private person, by the brand itself, without a receipt."""
    assert read() == AskedQuestion(
        brand_code=100001,
        channel=Channel.MESAJ,
        recipient_type=RecipientType.BIREYSEL,
        recipients=[PHONE],
        message_class=MessageClass.COMMERCIAL,
        is_exempt=False,
        basis=None,
        retailer_code=None,
        campaign=None,
        receipt=None,
        at_least=None,
    )
    assert read(**{one.name: None for one in FIELDS if not one.is_required}) == read()


def test_words_of_every_way_in_are_read():
    """As at the intake."""
    found = read(type="sms", recipient_type="esnaf")
    assert (found.channel, found.recipient_type) == (Channel.MESAJ, RecipientType.TACIR)


def test_every_field_is_read():
    """Texts without what no text may contain."""
    token = [LogPosition("consent-events", 0, 3)]
    found = read(
        recipient_type="TACIR",
        message_class="invoice",
        basis=" order 7\0 ",
        retailer_code=12345678,
        campaign=" ",
        receipt="list",
        at_least=token_of(token),
    )
    assert (found.recipient_type, found.message_class) == ("TACIR", "invoice")
    assert (found.basis, found.retailer_code, found.campaign) == ("order 7", 12345678, None)
    assert (found.receipt, found.at_least) == (ReceiptKind.LIST, tuple(token))


@pytest.mark.parametrize("message_class", MessageClass)
def test_exempt_class_always_has_a_receipt(message_class: MessageClass):
    """Of the one recipient, or of the list, unless another is wanted."""
    is_exempt = message_class in EXEMPT
    given = {"message_class": str(message_class)}
    assert read(**given).is_exempt is is_exempt
    assert read(**given).receipt == ("decision" if is_exempt else None)
    several = {**given, "recipients": [PHONE, PHONE]}
    assert read(**several).receipt == ("list" if is_exempt else None)
    assert read(**several, receipt="decision").receipt == "decision"


@pytest.mark.parametrize(
    ("given", "status", "named"),
    [
        ({"brand_code": None}, 422, "/brand_code is a number"),
        ({"brand_code": "100001"}, 422, "/brand_code is a number"),
        ({"brand_code": True}, 422, "/brand_code is a number"),
        ({"brand_code": 2**31}, 422, "/brand_code is a number"),
        ({"retailer_code": 0}, 422, "/retailer_code is a number"),
        ({"type": None}, 422, "/type is one of ARAMA, MESAJ, EPOSTA"),
        ({"type": "fax"}, 422, "/type is one of"),
        ({"type": "✓"}, 422, "/type is one of"),
        ({"type": ["MESAJ"]}, 422, "/type is one of"),
        ({"recipient_type": ""}, 422, "/recipient_type is one of BIREYSEL, TACIR"),
        ({"message_class": "otp"}, 422, "/message_class is one of"),
        ({"receipt": "all"}, 422, "/receipt is one of list, decision"),
        ({"recipients": PHONE}, 422, "/recipients is a list"),
        ({"recipients": []}, 422, "/recipients is a list"),
        ({"recipients": [PHONE, 905]}, 422, "/recipients/1 is no text"),
        ({"recipients": ["-"] * (MOST_RECIPIENTS + 1)}, 413, "send at most 100000"),
        ({"campaign": 1}, 422, "/campaign is a text"),
        ({"basis": "x" * (LONGEST_TEXT + 1)}, 422, "/basis is a text of at most 200"),
        ({"at_least": 1}, 422, "/at_least is no token"),
        ({"at_least": "x"}, 422, "/at_least is no token"),
        ({"brand": 1}, 422, "1 of the body's fields are unknown; there are at_least, basis"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, object], status: int, named: str):
    """The field, and not what was sent."""
    with pytest.raises(RequestRefusedError) as refused:
        read(**given)
    assert refused.value.text.status == status
    assert named in refused.value.text.detail


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("", b"{}", 415),
        (JSON_TYPE, b"{", 400),
        (JSON_TYPE, b'{"a": NaN}', 400),
        (JSON_TYPE, b'{"recipients": ["\\ud800"]}', 400),
        (JSON_TYPE, b'{"recipients": ["\xff"]}', 400),
        (JSON_TYPE, b"[]", 422),
        (JSON_TYPE, b"null", 422),
    ],
)
def test_body_that_is_no_object_is_refused(kind: str, body: bytes, status: int):
    """Also half of a surrogate pair, and bytes that are no UTF-8."""
    with pytest.raises(RequestRefusedError) as refused:
        read_question(kind, body)
    assert refused.value.text.status == status


def test_content_type_may_have_parameters():
    """In any case."""
    body = json.dumps(a_question()).encode()
    assert read_question("Application/JSON; charset=utf-8", body) == read()


@given(st.dictionaries(st.sampled_from([one.name for one in FIELDS]), JSON))
def test_any_json_is_read_or_refused(given: dict[str, object]):
    """Nothing else is raised."""
    with suppress(RequestRefusedError):
        read(**given)


def test_body_with_too_many_values_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifteen megabytes of empty texts would hold the loop for a second, and half a gigabyte."""
    monkeypatch.setattr("orjson.loads", Mock(side_effect=AssertionError))
    for body in (b'{"recipients":[' + b'"",' * 5_000_000 + b'""]}', b"[" * 5_000_000):
        with pytest.raises(RequestRefusedError) as refused:
            read_question(JSON_TYPE, body)
        assert refused.value.text.status == 413
