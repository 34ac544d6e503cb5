"""A scrubbed list is believed where its digest is that of the gate's receipt, and no further."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from izin.ledger.history import entries_of
from izin.ledger.reads import RecordedFact
from izin.replay.errors import UnverifiedListError
from izin.replay.what_if.key_history import GivenList, on_list, receipt_of
from izin.schemas.may_send_api import digest_line
from tests.support.builders import BRAND, NOON
from tests.support.published import a_decision_receipt, a_receipt

FIRST = {"0555 000 00 01": "registered", "nobody": "not-registered", "05550000002": "opted-out"}
SECOND = {"05550000003": "register-first", "05550000004": "registered"}
COLUMNS = {"recipient": "telefon", "reason": "reason"}


def a_file(folder: Path, *parts: Mapping[str, str], rows: str = "") -> Path:
    """Write the answers to lists as izin scrub writes them, and more ``rows``."""
    path = folder / "list.scrubbed.csv"
    lines = [f"{one},x,{why}\n" for part in parts for one, why in part.items()]
    path.write_text("".join(["telefon,may_send,reason\n", *lines, rows]), "utf-8")
    return path


def facts_of(receipt: dict[str, Any]) -> list[RecordedFact]:
    """Return the entries of a receipt's own key, as the ledger has them."""
    return [
        RecordedFact(
            shard=0,
            place=1,
            kind=one.kind,
            customer_id=one.customer_id,
            key=one.key,
            event_id=None,
            status=None,
            source=one.source,
            occurred_at=one.occurred_at,
            recorded_at=one.occurred_at,
            data=one.data,
        )
        for one in entries_of(receipt)
    ]


def a_list(number: int, part: Mapping[str, str]) -> RecordedFact:
    """Return the receipt of a list of merchants with these answers, as the gate digests it."""
    hashed = hashlib.sha256()
    for text, reason in part.items():
        recipient = f"+90{text.replace(' ', '')[1:]}" if text.startswith("0") else text
        hashed.update(digest_line(f"{BRAND}/MESAJ/TACIR/{recipient}", reason))
    receipt = a_receipt(
        number, recipients=len(part), digest=hashed.hexdigest(), recipient_type="TACIR"
    )
    return receipt_of(Path("list"), receipt["receipt_id"], facts_of(receipt))


def test_list_in_parts_is_read_with_its_answers(tmp_path: Path):
    """Who has no valid address is in the digest, and has no key; what the gate was not asked about
    is neither.
    """
    path = a_file(tmp_path, FIRST, SECOND, rows="05550000009,no,unreadable-row\n")
    receipts = [a_list(1, FIRST), a_list(2, SECOND)]
    given = GivenList(path=path, receipts=("first", "second"), **COLUMNS)
    listed = list(on_list(given, receipts))
    assert [asked.receipt_id for _, asked in listed] == ["first"] * 2 + ["second"] * 2
    found = dict(listed)
    answers = {key.rsplit("/", 1)[1]: one.may_send for key, one in found.items()}
    assert answers == {
        "+905550000001": True,
        "+905550000002": False,
        "+905550000003": False,
        "+905550000004": True,
    }
    assert {one.asked_at for one in found.values()} == {NOON}


@pytest.mark.parametrize(
    ("parts", "rows"),
    [
        ([{**FIRST, "0555 000 00 01": "opted-out"}], ""),
        ([{**FIRST, "05550000002": "registered"}], ""),
        ([dict(reversed(FIRST.items()))], ""),
        ([dict(list(FIRST.items())[:2])], ""),
        ([FIRST], "05550000009,no,opted-out\n"),
        ([SECOND], ""),
    ],
    ids=["other reason", "no as yes", "other order", "a row less", "a row more", "other list"],
)
def test_list_that_is_not_the_receipts_is_refused(
    tmp_path: Path, parts: list[dict[str, str]], rows: str
):
    """Nobody is named by a list that the gate did not answer like this."""
    path = a_file(tmp_path, *parts, rows=rows)
    with pytest.raises(UnverifiedListError):
        list(on_list(GivenList(path=path, receipts=("1",), **COLUMNS), [a_list(1, FIRST)]))


@pytest.mark.parametrize(
    "receipt", [None, a_decision_receipt(1), a_receipt(1, recipients=1)], ids=str
)
def test_receipt_that_proves_no_list_is_refused(receipt: dict[str, Any] | None):
    """An id that the ledger does not have, answers for single recipients, a list of one."""
    facts = [] if receipt is None else facts_of(receipt)
    with pytest.raises(UnverifiedListError):
        receipt_of(Path("list.csv"), "1", facts)
