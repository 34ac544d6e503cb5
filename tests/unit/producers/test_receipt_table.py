"""The table of first receipts: the first one counts, for a day, in little memory."""

from datetime import timedelta
from uuid import UUID

import pytest

from izin.producers.intake.first_receipts import (
    KEPT,
    FirstReceipts,
    ReceiptsFullError,
    ReceiptTable,
)
from tests.support.builders import NOON

MINUTE = timedelta(minutes=1)


def an_id(number: int) -> bytes:
    return UUID(int=number * 0x1_0000_0001_0000_0001_0000_0001).bytes


def test_first_receipt_counts_for_a_day():
    """Then a repetition is a new act."""
    table = ReceiptTable()
    for passed in (timedelta(0), MINUTE, KEPT):
        table.add(an_id(1), NOON + passed)
        assert table.find(an_id(1)) == NOON
    table.add(an_id(1), NOON + KEPT + MINUTE)
    assert table.find(an_id(1)) == NOON + KEPT + MINUTE
    assert len(table) == 1


def test_ids_of_one_bucket_are_distinguished():
    """Also where one id ends as another begins."""
    table = ReceiptTable()
    ids = [bytes(2) + bytes([one]) * 14 for one in range(1, 50)] + [bytes(16)]
    for minutes, one in enumerate(ids):
        table.add(one, NOON + minutes * MINUTE)
    assert [table.find(one) for one in ids] == [
        NOON + minutes * MINUTE for minutes in range(len(ids))
    ]
    assert table.find(bytes(2) + b"\xff" * 14) is None


def test_expired_receipts_are_removed():
    """Those of the last day stay."""
    table = ReceiptTable()
    for number in range(100):
        table.add(an_id(number), NOON + number * MINUTE)
    table.expire(NOON + KEPT + 40 * MINUTE)
    assert len(table) == 60
    assert table.find(an_id(39)) is None
    assert table.find(an_id(40)) == NOON + 40 * MINUTE


def test_receipt_counts_no_later_than_its_append():
    """An endpoint's clock cannot put it ahead."""
    receipts = FirstReceipts(10)
    receipts.read(0, 0, an_id(1), NOON + MINUTE, appended_at=NOON)
    assert receipts.after(0, 1, an_id(1)).result(0) == NOON


def test_waiter_is_answered_once_its_position_is_read():
    """Of its partition, in any order, and by the end of the partition too."""
    receipts = FirstReceipts(10)
    late = receipts.after(0, 3, an_id(1))
    early = receipts.after(0, 1, an_id(1))
    other = receipts.after(1, 1, an_id(2))
    receipts.read(0, 0, an_id(1), NOON, appended_at=NOON)
    assert early.result(0) == NOON
    assert not late.done()
    receipts.read_to(0, 3)
    assert late.result(0) == NOON
    assert not other.done()
    receipts.read_to(1, 1)
    assert other.result(0) is None


def test_limit_bounds_what_is_claimed():
    """Until a day has passed."""
    receipts = FirstReceipts(2)
    for number in range(2):
        receipts.take_room(NOON, f"key-{number}")
        receipts.read(0, number, an_id(number), NOON, appended_at=NOON)
    with pytest.raises(ReceiptsFullError, match="IZIN_INTAKE_FIRST_RECEIPTS"):
        receipts.take_room(NOON, "key-2")
    receipts.take_room(NOON + KEPT + MINUTE, "key-2")
    assert len(receipts) == 0


def test_one_key_leaves_room_for_others():
    """Alone it has half of a day's claims, and the next day it has them again."""
    receipts = FirstReceipts(100)
    for name, numbers in (("bulk", range(50)), ("shop", range(50, 75))):
        for number in numbers:
            receipts.take_room(NOON, name)
            receipts.read(0, number, an_id(number), NOON, appended_at=NOON)
        with pytest.raises(ReceiptsFullError, match="of one key"):
            receipts.take_room(NOON, name)
    receipts.take_room(NOON, "third")
    receipts.take_room(NOON + KEPT + MINUTE, "bulk")
