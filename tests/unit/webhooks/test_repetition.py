"""What a resend may still send, how it says so, and the same opt-out from topic and history."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest

from izin.ledger.db import Ledger
from izin.ledger.webhooks.registry import EventFilter
from izin.runtime.settings import KafkaSettings
from izin.webhooks import resends
from izin.webhooks.events import WebhookEvent
from izin.webhooks.resends import (
    RepetitionGuard,
    Resend,
    is_overtaken,
    marked,
    opt_out_of,
)
from tests.support.builders import NOON
from tests.support.webhooks import a_standing, an_opt_out
from tests.unit.webhooks.test_events import PAGE
from tests.unit.webhooks.test_lanes import an_event as a_webhook

HOUR = timedelta(hours=1)
OPTED_OUT, GRANTED, REVOKED = "consent.opted-out", "permission.granted", "permission.revoked"


def a_resend(**overrides: Any) -> Resend:  # noqa: ANN401  # as Resend
    """Return the resend number 7, of everything."""
    fields: dict[str, Any] = {"filter": EventFilter(customer_id="acme")}
    return Resend(id=7, ordered_at=NOON, **fields | overrides)


def a_guard(**overrides: Any) -> RepetitionGuard:  # noqa: ANN401  # as Resend
    """Return the guard of that resend, beside nothing else; the ledger has every opt-out."""
    return RepetitionGuard(
        ledger=cast("Ledger", None),
        kafka=KafkaSettings(),
        subscriber_id=1,
        resend=a_resend(**overrides),
        followed=(),
        _is_known=True,
    )


State = Mapping[str, Any]


def holds(may_send: bool, since: datetime, consent: datetime | None = NOON) -> State:
    """Return what holds of a key since then, by a consent of that date."""
    return {
        "may_send": may_send,
        "since": since,
        "registered_at": consent,
        "consent_date": consent,
    }


@pytest.mark.parametrize(
    ("type_", "state", "overtaken"),
    [
        (GRANTED, holds(True, NOON + timedelta(microseconds=900)), False),
        (GRANTED, holds(True, NOON + HOUR), True),
        (GRANTED, holds(True, NOON - HOUR), True),
        (GRANTED, holds(False, NOON + HOUR), True),
        (GRANTED, None, True),
        (REVOKED, holds(True, NOON + HOUR), True),
        (REVOKED, holds(True, NOON - HOUR), False),
        (REVOKED, holds(False, NOON + HOUR), False),
        (REVOKED, None, False),
        (OPTED_OUT, holds(True, NOON + HOUR, NOON + timedelta(seconds=1)), True),
        (OPTED_OUT, holds(True, NOON + HOUR, NOON + timedelta(milliseconds=900)), False),
        (OPTED_OUT, holds(True, NOON + HOUR, None), False),
        (OPTED_OUT, holds(False, NOON + HOUR, NOON + HOUR), False),
        (OPTED_OUT, None, False),
        ("consent.outcome", None, False),
    ],
)
def test_event_is_overtaken_by_what_holds_now(
    type_: str, state: State | None, overtaken: bool
) -> None:
    """A permission unless it is the answer, a denial by a later permission, an opt-out by a newer
    consent that permits; nothing that cannot be compared.
    """
    assert is_overtaken(a_webhook(1, type=type_, since=NOON), state) is overtaken


def test_unreadable_opt_out_counts_from_its_append() -> None:
    """It says no instant, and may not be withheld for that."""
    event = a_webhook(1, type=OPTED_OUT, appended=(NOON + HOUR).timestamp())
    assert not is_overtaken(event, holds(True, NOON, NOON))
    assert is_overtaken(event, holds(True, NOON + 2 * HOUR, NOON + 2 * HOUR))


def test_repetition_says_so_and_keeps_its_id() -> None:
    """Everything else of its body is as it was; the page shows the mark."""
    event = a_webhook(1, body=b'{"type":"x","data":{"a":1}}')
    found = marked(event, a_resend())
    body = orjson.loads(found.body)
    mark = {"repetition": body.pop("repetition")}
    assert f"```json\n{json.dumps(mark, indent=2)}\n```" in PAGE
    assert (body, found.webhook_id) == (orjson.loads(event.body), event.webhook_id)


@pytest.mark.parametrize(
    ("chosen", "selected"),
    [
        ({}, True),
        ({"keys": frozenset({"key"})}, True),
        ({"keys": frozenset[str]()}, False),
        ({"filter": EventFilter(customer_id="acme", brands=frozenset({5}))}, False),
        ({"filter": EventFilter(customer_id="other")}, False),
    ],
    ids=["everything", "its-key", "every-key-erased", "another-brand", "another-customer"],
)
def test_selection_limits_what_is_sent(chosen: dict[str, Any], selected: bool) -> None:
    """A list of keys that lost all of them to erasure is no list of every key."""
    assert bool(a_guard(**chosen).chosen([a_webhook(1)])) is selected


async def test_ledger_is_asked_again_for_what_comes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A denial is read while the ledger is asked, as another lane asks: the answer is too old."""
    state, under_test = holds(True, NOON), a_guard()
    granted = a_webhook(1, type=GRANTED, since=NOON)
    others = list[asyncio.Task[list[WebhookEvent]]]()

    async def holding(_ledger: Ledger, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        nonlocal state
        found = [one for one in events if not is_overtaken(one, state)]
        if events == [granted] and state["may_send"]:
            other = under_test.review([a_webhook(3, key="other", type="consent.outcome")])
            others.append(asyncio.create_task(other))
            await asyncio.sleep(0)
            under_test.note(a_webhook(2, type=REVOKED))
            state = holds(False, NOON + HOUR)
        return found

    monkeypatch.setattr(resends, "holding", holding)
    assert await under_test.review([granted]) == []
    assert len(await others[0]) == 1


@pytest.mark.parametrize(
    ("row", "event_id"),
    [(an_opt_out(1, number=5), "event-1"), (a_standing(1, number=5, latest_ret_at=NOON), None)],
    ids=["latest", "followed"],
)
def test_older_opt_out_is_what_its_row_says(row: dict[str, Any], event_id: str | None) -> None:
    """What replaced an opt-out says nothing of it."""
    row = {"desired_source": "HS_WEB", "desired_consent_date": NOON} | row
    found = opt_out_of(row)
    data = orjson.loads(found.body)["data"]
    assert (data["event_id"], data["offset"], found.offset) == (event_id, None, 5)
    assert (data["effective_at"], found.since) == ("2026-03-02T09:00:00Z", NOON)
    assert found.appended == NOON.replace(tzinfo=UTC).timestamp()
