"""What a unit of work publishes of a row."""

from izin.consent import State
from izin.ledger.record import RuledRow, first_row
from izin.schemas.topics import Topics
from tests.support.builders import CUSTOMER, NOON, a_key
from tests.support.fast_copies.registry import MESSAGES, saved


def test_permission_behind_a_closed_opt_in_is_published_again() -> None:
    """The opt-out before it holds again: the topic must not keep what the opt-in permitted."""
    row = first_row(a_key(), CUSTOMER, NOON)
    opted_out = row.replace(
        desired_status="RET", desired_at=NOON, desired_rank=0, latest_ret_at=NOON
    )
    changes, _ = saved(None, RuledRow(row=opted_out), NOON)
    before = changes.written(opted_out)
    closed = before.replace(desired_status="ONAY", latest_ret_at=None, state=State.EXPIRED)
    changes, messages = saved(before, RuledRow(row=before, closed=closed), NOON)
    published = [one for one in messages if one.topic == Topics().permissions.name]
    written = changes.written(before)
    expected = MESSAGES.permission_of(written, NOON, previous=False)
    assert len(published) == 2
    assert published[-1].value == expected.value
    assert written.permission_reason == before.permission_reason
