"""Opt-outs that are older than their topic, made of the history: the source of a lane of a resend.

The decision by which a recipient opted out is in the history for ten years, with everything that
the topic had of it. So the event is the same and has the same id; only its place in the topic is
not known any more. Where the decision is not there, for the ledger was restored without it, the
row says what it can.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent.model import Status
from izin.schemas.records import ID, SOURCE, derived_id, key_text
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import resends
from izin.sinks.ledger.webhooks.resends import HISTORY
from izin.sinks.ledger.webhooks.subscriber import WebhookType
from izin.sinks.webhooks.events import OF_OPT_OUT, WebhookEvent, event_of, webhook_id
from izin.sinks.webhooks.lane import DeliveryLane
from izin.sinks.webhooks.live_feed import LiveFeed
from izin.sinks.webhooks.source import Taken

_PLACE = HISTORY, 0
_NO_PLACE: Mapping[str, None] = {"topic": None, "partition": None, "offset": None}


class OlderOptOut(NamedTuple):
    """An opt-out that the history has."""

    event: WebhookEvent
    came_at: datetime | None
    """When it came to us, which was before its record was appended; None: nobody knows."""


@dataclass(slots=True, kw_only=True)
class OlderOptOuts:
    """The list of one resend, read from the ledger."""

    lane: DeliveryLane
    ledger: Ledger
    feed: LiveFeed | None = None
    is_live: bool = False

    async def take(self, most: int) -> Taken:
        """Return what comes next, at most ``most`` events; raises LedgerUnavailableError."""
        first, end = self.lane.positions[_PLACE], self.lane.ends[_PLACE]
        rows = await resends.listed(self.ledger, self.lane.resend_id, first=first, most=most)
        # Numbers that are missing in a short page are of keys that were erased.
        position = int(rows[-1]["number"]) + 1 if len(rows) == most else end
        events = [one.event for one in await opt_outs_of(self.ledger, rows)]
        return Taken(events, {_PLACE: position}, is_live=False)

    async def reopen(self) -> Sequence[WebhookEvent]:
        """Return the events of the lane's open numbers; those of erased keys are closed."""
        numbers = set(self.lane.open[_PLACE])
        number = self.lane.resend_id
        rows = await resends.listed(
            self.ledger, number, first=0, most=len(numbers), numbers=numbers
        )
        for gone in numbers - {int(row["number"]) for row in rows}:
            self.lane.close(_PLACE, gone)
        return [one.event for one in await opt_outs_of(self.ledger, rows)]

    async def release(self) -> None:
        """Keep nothing open between two pages."""

    def is_due(self, event: WebhookEvent, _taken: Taken, _now: datetime) -> bool:
        """Whether ``event`` is to be delivered: each opt-out tells of a change."""
        return event.is_change


async def opt_outs_of(ledger: Ledger, rows: Collection[Mapping[str, Any]]) -> Sequence[OlderOptOut]:
    """Return the latest opt-out of each of some rows of ``consents`` that have a ``number`` too."""
    by_key = defaultdict[str, list[Mapping[str, Any]]](list)
    for one in await resends.decisions(ledger, [row["key"] for row in rows]) if rows else ():
        by_key[key_text(one["consent"])].append(one)
    return [opt_out_of(row, by_key[row["key"]]) for row in rows]


def opt_out_of(row: Mapping[str, Any], decisions: Sequence[Mapping[str, Any]]) -> OlderOptOut:
    """Return the opt-out of a row by its decisions (Avro), or by itself where none opted out."""
    found = [one for one in decisions if one["opted_out"]]
    if not found:
        record, at = _record_of(row), row["latest_ret_at"]
        return OlderOptOut(_event(row, record, at, webhook_id({}, f"{row['key']}/{at}")), None)
    decision = max(found, key=lambda one: one["effective_at"])
    event, place = decision["event"], (decision["topic"], decision["partition"], decision["offset"])
    headers = {
        ID: derived_id(event["event_id"], *place, "/opt-out").encode(),
        SOURCE: f"/{event['customer_id']}/{event['origin']}".encode(),
    }
    came_at = event["received_at"] or decision["effective_at"]
    return OlderOptOut(_event(row, decision["consent"], came_at, webhook_id(headers, "")), came_at)


def _event(
    row: Mapping[str, Any], record: Mapping[str, Any], came_at: datetime, own_id: str
) -> WebhookEvent:
    return event_of(
        WebhookType.OPTED_OUT,
        {**record, "customer_id": row["customer_id"]},
        OF_OPT_OUT,
        place={"topic": HISTORY, "partition": 0, "offset": int(row["number"])},
        appended=came_at.timestamp(),
        webhook_id=own_id,
        since=record["effective_at"],
        shown=_NO_PLACE,
    )


def _record_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a row says of its opt-out; what a later opt-in has replaced is not known."""
    is_latest = row["desired_status"] == Status.RET
    latest = {
        "event_id": row["desired_event_id"],
        "origin": row["desired_origin"],
        "source": row["desired_source"],
        "consent_date": row["desired_consent_date"],
    }
    return {
        "customer_id": row["customer_id"],
        "brand_code": row["brand_code"],
        "type": row["channel"],
        "recipient_type": row["recipient_type"],
        "recipient": row["recipient"],
        "status": Status.RET,
        "previous_status": Status.ONAY if row["latest_onay_at"] else None,
        "effective_at": row["latest_ret_at"],
        **(latest if is_latest else dict.fromkeys(latest)),
    }
