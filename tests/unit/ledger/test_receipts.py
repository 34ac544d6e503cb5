"""Receipts as entries: the whole request under its id, an answer under its recipient's key."""

import json

import orjson
import pytest

from izin.consent import SourceError
from izin.ledger.history import entries_of, receipt_key
from izin.ledger.history.receipts import KIND
from tests.support.builders import NOON, PHONE, a_key
from tests.support.published import a_decision_receipt, a_receipt

ID = a_receipt()["receipt_id"]


def test_list_is_one_movement_that_names_nobody() -> None:
    """With what was asked, how many got which answer, and the digest of the list."""
    (one,) = entries_of(a_receipt(basis="contract", customer_id="beta"))
    assert (one.kind, one.key, one.source) == (KIND, receipt_key(ID), receipt_key(ID))
    assert (one.customer_id, one.occurred_at, one.may_repeat) == ("beta", NOON, True)
    names = ("receipt", "recipients", "basis", "campaign", "digest")
    assert [one.data[name] for name in names] == [
        *("list", 2, "contract", "spring", a_receipt()["digest"])
    ]


def test_answer_is_a_movement_of_its_recipient() -> None:
    """Beside one of the request, which has nothing that leads to the recipient."""
    whole, own = entries_of(a_decision_receipt(retailer_code=7))
    assert (own.key, own.source) == (str(a_key(recipient=PHONE)), f"{receipt_key(ID)}/0")
    assert (own.data["receipt_id"], own.data["basis"], own.data["retailer_code"]) == (
        *(ID, "order 17", 7),
    )
    assert whole.key == receipt_key(ID)
    text = json.dumps(json.loads(orjson.dumps(whole.data)))
    assert PHONE not in text
    assert (whole.data["digest"], whole.data["basis"]) == (None, None)


def test_list_of_one_recipient_keeps_nothing_of_it() -> None:
    """Whoever guesses the recipient could test the digest, after an erasure too; the basis may be
    the number of an order.
    """
    alone = a_receipt(recipients=1, reasons={"registered": 1}, basis="order 17")
    (one,) = entries_of(alone)
    assert (one.data["digest"], one.data["basis"]) == (None, None)


def test_answer_without_a_valid_address_stays_with_its_request() -> None:
    """It has no key, and names nobody."""
    _, own = entries_of(a_decision_receipt(index=3, recipient=None))
    assert (own.key, own.source) == (receipt_key(ID), f"{receipt_key(ID)}/3")
    assert own.data["basis"] is None


def test_answer_of_no_channel_is_refused() -> None:
    """It goes to the dead letters, where a person sees it."""
    with pytest.raises(SourceError):
        list(entries_of(a_decision_receipt(type="SMS")))
