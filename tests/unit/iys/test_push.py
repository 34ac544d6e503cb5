import json

import pytest

from izin.iys.errors import UnreadableError
from izin.iys.wire_format.consents import parse_push

# İYS's fixed test payload, from its documents.
TEST = {
    "iysCode": 121212,
    "brandCode": 121212,
    "consentDate": "2015-05-01 15:00:00",
    "creationDate": "2015-05-01 15:00:00",
    "source": "IYS_MOBIL",
    "recipient": "pushtest@iys.org.tr",
    "recipientType": "BIREYSEL",
    "status": "ONAY",
    "type": "EPOSTA",
    "transactionId": "e52ee30512adfcd2a41fb3b4682f5bd61eee5b1c92bda665fc0b7e56644d429d",
}
REAL = {**TEST, "iysCode": 100001, "brandCode": "100001", "recipient": "ada@example.com"}


def a_body(*movements: object) -> bytes:
    return json.dumps({"list": movements}).encode()


def test_test_payload_is_recognised():
    """It must be acknowledged and never stored."""
    push = parse_push(a_body(TEST))

    assert (push.tests, push.movements) == (1, ())


def test_push_names_its_brand():
    """Movements of a push name provider and brand, as numbers or texts."""
    push = parse_push(a_body(REAL))

    assert push.tests == 0
    assert push.movements[0].brand_code == 100001
    assert push.movements[0].recipient == "ada@example.com"


def test_test_payload_beside_a_movement_hides_nothing():
    """Only the test itself is left out."""
    push = parse_push(a_body(TEST, REAL))

    assert (push.tests, len(push.movements)) == (1, 1)


def test_real_brand_with_the_test_code_is_real():
    """The code alone does not make a test: a real brand may have it."""
    assert parse_push(a_body({**TEST, "recipient": "ada@example.com"})).tests == 0


def test_empty_push_is_no_test():
    """There is nothing to store."""
    push = parse_push(a_body())

    assert (push.movements, push.tests) == ((), 0)


@pytest.mark.parametrize(
    "unreadable", [{"iysCode": 1}, {**REAL, "creationDate": "0001-01-01 00:00:00"}, 7]
)
def test_movement_that_cannot_be_read_hides_no_other(unreadable: object):
    """It is handed over as İYS wrote it, and its neighbours are read."""
    push = parse_push(a_body(REAL, unreadable, TEST))
    assert [one.recipient for one in push.movements] == ["ada@example.com"]
    ((raw, error),) = push.unreadable
    assert (json.loads(raw), bool(error)) == (unreadable, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"list": 7}'])
def test_body_that_is_no_push_is_unreadable(body: bytes):
    """It is refused as a whole, and pull brings it."""
    with pytest.raises(UnreadableError):
        parse_push(body)
