"""Receipts as entries: the whole request under its id, an answer under its recipient's key.

Missing numbers of an origin's sequence, whatever order the others arrived in.
"""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from izin.consent import SourceError
from izin.ledger.history import entries_of, receipt_key
from izin.ledger.history.append import RECEIPT
from izin.ledger.record import Gap, Numbers, Run, runs, with_runs
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.sinks.ingest.ingested_topics import _arrived
from tests.support.builders import NOON, PHONE, a_key, an_event, kafka_message
from tests.support.published import a_decision_receipt, a_receipt

ID = a_receipt()["receipt_id"]


def test_list_is_one_movement_that_names_nobody() -> None:
    """With what was asked, how many got which answer, and the digest of the list."""
    (one,) = entries_of(a_receipt(basis="contract", customer_id="beta"))
    assert (one.kind, one.key, one.source) == (RECEIPT, receipt_key(ID), receipt_key(ID))
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
    assert PHONE not in json.dumps(json.loads(orjson.dumps(whole.data)))
    assert (whole.data["digest"], whole.data["basis"]) == (None, None)


def test_list_of_one_recipient_keeps_nothing_of_it() -> None:
    """Whoever guesses the recipient could test the digest, after an erasure too; the basis may be
    the number of an order.
    """
    (one,) = entries_of(a_receipt(recipients=1, reasons={"registered": 1}, basis="order 17"))
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


LATER = NOON + timedelta(minutes=1)
NUMBERS = st.lists(st.sets(st.integers(-5, 30), min_size=1), min_size=1, max_size=5)


def after(*batches: dict[int, datetime]) -> Numbers:
    """Return what is known after `batches` of numbers with their instants."""
    first, *others = map(runs, batches)
    found = with_runs(Numbers(first=first[0].first, last=first[0].last), first)
    for one in others:
        found = with_runs(found, one)
    return found


def at(*numbers: int, instant: datetime = NOON) -> dict[int, datetime]:
    return dict.fromkeys(numbers, instant)


@given(NUMBERS)
def test_gaps_are_the_numbers_that_did_not_arrive(batches: list[set[int]]):
    """In any order and batch, and repeated too."""
    found = after(*(at(*one) for one in [*batches, batches[0]]))
    came = set().union(*batches)
    missing = [number for gap in found.gaps for number in range(gap.first, gap.last + 1)]
    assert (found.first, found.last) == (min(came), max(came))
    assert missing == sorted(set(range(min(came), max(came) + 1)) - came)
    assert all(one.last + 1 < other.first for one, other in pairwise(found.gaps))


def test_consecutive_numbers_are_one_run():
    """A run has the instant of its earliest record."""
    assert runs({3: LATER, 4: NOON, 7: LATER}) == [Run(3, 4, NOON), Run(7, 7, LATER)]


def test_gap_has_the_instant_of_the_number_after_it():
    """What is left of a gap stays as old."""
    assert after(at(1), at(9, instant=LATER)).gaps == (Gap(2, 8, LATER),)
    split = after(at(1), at(9, instant=LATER), at(5, instant=LATER + timedelta(hours=1)))
    assert split.gaps == (Gap(2, 4, LATER), Gap(6, 8, LATER))
    assert sum(gap.size for gap in split.gaps) == 6


def test_late_number_closes_its_gap():
    """It is missing no more."""
    assert after(at(1, 2), at(4), at(3)) == Numbers(first=1, last=4)


def test_lower_number_extends_the_sequence_downwards():
    """A lane that is read later may have what an origin began with."""
    assert after(at(10, 11), at(7)).gaps == (Gap(8, 9, NOON),)


def test_gaps_are_bounded_and_given_up_numbers_counted():
    """Numbers that are not consecutive cost no more than a bound."""
    numbers = Numbers(first=0, last=0)
    for step in range(1, 6):
        run = Run(10 * step, 10 * step, NOON + timedelta(seconds=step))
        numbers = numbers.with_run(run, most=2)
    assert [gap.first for gap in numbers.gaps] == [31, 41]
    assert numbers.given_up == 27
    assert numbers.with_run(Run(5, 5, LATER), most=2) == numbers


def test_record_without_a_number_is_skipped():
    """Malformed values, tombstones and events without a number are not counted."""
    codec = Codec()

    def message_of(**fields: object) -> Any:  # noqa: ANN401  # a Message
        return kafka_message(value=codec.encode("ConsentEvent", event_to_avro(an_event(**fields))))

    messages = [
        message_of(sequence=2, origin="crm"),
        kafka_message(value=b"rubbish"),
        kafka_message(),
        message_of(sequence=None),
        message_of(sequence=3, origin="crm", status="perhaps"),
        message_of(sequence=1, origin="web\0"),
        message_of(sequence=1, customer_id="other"),
    ]
    assert _arrived(messages, codec) == {
        ("acme", "crm"): [Run(2, 3, NOON)],
        ("other", "web"): [Run(1, 1, NOON)],
    }
    assert NOON.tzinfo is UTC
