"""What İYS's answer to a query of many means for a key, and the turns of the budget.

Who may push, and whether İYS shows a connection.
"""

import asyncio
import base64
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from izin.consent import Action, Observation, Registered, State
from izin.iys.wire_format import UnreadableItem
from izin.ledger.record import (
    ConsentRow,
    LedgerUnavailableError,
    TopicMessages,
    first_row,
    is_swept,
    to_sweep_query,
)
from izin.ledger.record.apply import observed
from izin.ledger.sweep.sweeps import SweptKey
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.inbound.movements import unreadable_messages
from izin.sinks.inbound.push import AcceptedCredentials, Credentials
from izin.sinks.inbound.push_connections import is_established
from izin.sinks.inbound.sweep import KeyFinding, finding, is_as_known, may_be_asked
from izin.sinks.outbound.context import RequestBudget
from tests.support.builders import CUSTOMER, NOON, a_key
from tests.support.waiting import ManualClock

BEFORE = NOON - timedelta(hours=1)
CREDENTIALS = Credentials(username="iys", password=SecretStr("fake-password"))


def a_row(**columns: Any) -> ConsentRow:  # noqa: ANN401 - a column's value each
    """Return the row of an opt-in that İYS holds, with ``columns`` changed."""
    settled = {
        "registered": Registered.ONAY,
        "registered_at": BEFORE,
        "desired_status": "ONAY",
        "state": State.ACCEPTED,
        "action": Action.NOTHING,
    }
    return first_row(a_key(), CUSTOMER, BEFORE).replace(**settled | columns)


def as_read(row: ConsentRow) -> SweptKey:
    """Return the key as a sweep has read it."""
    return SweptKey(
        key=row.key,
        recipient=row.recipient,
        channel=row.channel,
        recipient_type=row.recipient_type,
        registered=row.registered,
        registered_at=row.registered_at,
        last_exchange_at=row.last_exchange_at,
    )


@pytest.mark.parametrize("registered", list(Registered))
@pytest.mark.parametrize("is_approved", [True, False])
def test_only_onay_on_one_side_alone_is_a_difference(registered: Registered, is_approved: bool):
    """Absence where RET or nothing was believed needs nothing."""
    key = as_read(a_row(registered=registered))
    assert is_as_known(key, is_approved=is_approved) is (is_approved == (registered == "ONAY"))


@pytest.mark.parametrize(
    ("columns", "is_approved", "found"),
    [
        ({}, False, KeyFinding.SHUT),
        ({"desired_status": None}, False, KeyFinding.SHUT),
        ({"state": State.EXPIRED}, False, KeyFinding.SHUT),
        ({"state": State.PENDING, "action": Action.SEND}, False, KeyFinding.SHUT),
        ({"state": State.UNKNOWN, "action": Action.QUERY}, False, KeyFinding.SHUT),
        ({"desired_status": "RET"}, False, KeyFinding.SHUT),
        ({"desired_status": "RET", "action": Action.SEND}, False, KeyFinding.SKIPPED),
        ({"onay_open": True}, False, KeyFinding.SKIPPED),
        ({"ret_open": True}, False, KeyFinding.SKIPPED),
        ({"registered_at": NOON}, False, KeyFinding.SKIPPED),
        ({"registered": "UNKNOWN"}, True, KeyFinding.FOUND),
        ({"registered": "NONE", "desired_status": None}, True, KeyFinding.FOUND),
        ({"registered": "RET"}, True, KeyFinding.ASKED),
        ({"registered": "NONE", "desired_status": "RET"}, True, KeyFinding.ASKED),
        ({"registered": "NOT_ONAY", "latest_ret_at": BEFORE}, True, KeyFinding.ASKED),
        ({"registered": "UNKNOWN", "action": Action.SEND}, True, KeyFinding.SKIPPED),
        ({"registered": "UNKNOWN", "action": Action.QUERY}, True, KeyFinding.SKIPPED),
        ({"registered": "RET", "onay_open": True}, True, KeyFinding.SKIPPED),
    ],
)
def test_absence_shuts_the_gate_and_onay_beside_an_opt_out_is_asked_about(
    columns: dict[str, Any], is_approved: bool, found: KeyFinding
):
    """But for an opt-out on its way, and what moved since İYS was asked: whatever is due for the
    key reads İYS's answer itself.
    """
    row = a_row(**columns)
    assert finding(as_read(row), row, is_approved=is_approved, queried_at=NOON) is found


@pytest.mark.parametrize(
    "columns",
    [
        {"registered": "RET"},
        {"registered_at": BEFORE + timedelta(seconds=1)},
        {"last_exchange_at": NOON},
    ],
)
def test_key_that_changed_since_it_was_read_is_not_judged(columns: dict[str, Any]):
    """Nor is one that was erased."""
    key = as_read(a_row())
    values: dict[str, Any] = {"is_approved": False, "queried_at": NOON}
    assert finding(key, a_row(**columns), **values) is KeyFinding.SKIPPED
    assert finding(key, None, **values) is KeyFinding.SKIPPED


@pytest.mark.parametrize(
    ("columns", "asked"),
    [
        ({}, True),
        ({"registered": "NONE"}, False),
        ({"action": Action.SEND}, False),
        ({"ret_open": True}, False),
    ],
)
def test_refused_recipient_is_asked_about_alone_where_onay_is_believed(
    columns: dict[str, Any], asked: bool
):
    """Of any other the ledger believes nothing that it could permit."""
    row = a_row(**columns)
    assert may_be_asked(as_read(row), row, queried_at=NOON) is asked


@pytest.mark.parametrize("state", list(State))
def test_row_to_be_queried_alone_keeps_what_a_person_reads(state: State):
    """Its state stays, and so does the reason of what is refused, expired or parked."""
    row = to_sweep_query(a_row(state=state, reason="reconsent"), NOON)
    closed = state in {State.REFUSED, State.EXPIRED, State.PARKED}
    assert (row.state, row.reason) == (state, "reconsent" if closed else "swept")
    assert is_swept(row)
    assert not is_swept(row.replace(action=Action.NOTHING))


@pytest.mark.parametrize(
    ("value", "by", "seen_after", "registered", "created"),
    [
        ("RET", "status", 1, "RET", -3600),
        ("ONAY", "status", 1, "ONAY", -3600),
        ("ONAY", "status", -1, "NOT_ONAY", 0),
        ("ONAY", "pull", 1, "NOT_ONAY", 0),
        ("RET", "status", -1, "RET", 0),
        ("RET", "pull", 1, "RET", 0),
    ],
)
def test_query_of_the_key_alone_replaces_an_absence_whatever_its_date(
    value: str, by: str, seen_after: int, registered: str, created: int
):
    """The record that stands may be of last week. A consent that was asked for before, or is pulled
    in its turn, shows no more than what was; an opt-out is what was absent, and counts from then.
    """
    row = a_row(registered="NOT_ONAY", registered_at=NOON, verified_by="statuses")
    shown = Observation(
        value=Registered(value),
        creation_date=BEFORE,
        transaction_id="x",
        verified_at=NOON + timedelta(seconds=seen_after),
        verified_by=by,
    )
    after = observed(row, shown)
    assert (after.registered, after.registered_at) == (
        *(registered, NOON + timedelta(seconds=created)),
    )


class Clock(ManualClock):
    """A clock that only sleepers advance."""

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += seconds


async def test_budget_gives_every_turn_and_no_more():
    """Turns that were missed for half a second are made up; those of a minute are not."""
    clock = Clock(0.0)
    budget = RequestBudget(2, clock=clock, sleep=clock.sleep)
    for _ in range(5):
        await budget.turn()
    assert clock.now == 2.0
    clock.now = 2.75
    await asyncio.gather(*(budget.turn() for _ in range(2)))
    assert clock.now == 3.0
    clock.now = 63.0
    for _ in range(4):
        await budget.turn()
    assert clock.now == 63.5


ABSENT: Any = Mock(fetch=AsyncMock(side_effect=LedgerUnavailableError("away")))
"""A ledger that cannot be reached."""


def accepted(credentials: Credentials | None) -> AcceptedCredentials:
    """Return who may push while the ledger cannot be reached."""
    return AcceptedCredentials(credentials, ABSENT, clock=lambda: NOON)


def basic(text: str) -> str:
    """Return an Authorization header."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic %%%", "Bearer abc", basic("iys:other"), basic("iys")],
)
async def test_push_with_wrong_credentials_is_refused(header: str | None):
    """İYS refuses a receiver that admits anybody."""
    assert not await accepted(CREDENTIALS).admits(header)


async def test_push_with_right_credentials_is_admitted():
    """The password is not printed."""
    assert await accepted(CREDENTIALS).admits(basic("iys:fake-password"))
    assert not await accepted(None).admits(basic("iys:fake-password"))
    assert "fake-password" not in repr(CREDENTIALS)


def test_stands_reads_the_answer_of_a_made_connection():
    """İYS's two sentences differ by one syllable."""
    assert is_established("Bağlantı Oluşturuldu")
    assert not is_established("Bağlantı Oluşturulamadı")
    assert not is_established(None)


def test_unreadable_movements_of_a_push_are_one_line_of_the_log():
    """Whoever pushes a thousand of them does not write as many lines, and each is kept."""
    items = [UnreadableItem(b"{}", f"{number}: not a movement") for number in range(1000)]
    messages = TopicMessages(Codec(), Topics())
    with capture_logs() as logs:
        assert len(unreadable_messages(items, "iys/push", messages, NOON)) == 1000
        assert unreadable_messages([], "iys/push", messages, NOON) == []
    assert [(one["log_level"], one["count"]) for one in logs] == [("critical", 1000)]
