"""What is shown of a subscriber: what it gets, how it is, and what it still lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from izin.console.terminal.output import turkish
from izin.kafka.partition_client import Place
from izin.sinks.ledger.webhooks.resends import ResendProgress
from izin.sinks.ledger.webhooks.subscriber import DeliveryCursor, WebhookSubscriber

LIST = {
    "name": "name",
    "customer_id": "customer",
    "state": "state",
    "url": "URL",
    "types": "types",
    "brands": "brands",
    "channels": "channels",
    "origins": "origins",
}
ATTEMPTS = {
    "failed_at": "when (Turkey)",
    "place": "record",
    "attempt": "attempt",
    "status": "status",
    "failure": "failure",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneBacklog:
    """What a subscriber lacks of one lane."""

    lane: str
    open: int
    """Records that were read for it and not acknowledged, or refused."""
    unread: int
    """Records that were not read for it; not all of them are for it."""


def list_row(one: WebhookSubscriber, now: datetime) -> list[object]:
    """Return the row of a subscriber in the list."""
    shown = one.shown() | {"customer_id": one.customer_id, "state": one.state_at(now)}
    for many in ("types", "brands", "channels", "origins"):
        shown[many] = " ".join(map(str, shown[many])) or "all"
    return [shown[column] for column in LIST]


def backlog(cursors: Sequence[DeliveryCursor], ends: Mapping[Place, int]) -> Sequence[LaneBacklog]:
    """Return what is open and unread in each lane, given where each partition ends."""
    found: dict[str, list[int]] = {}
    for one in cursors:
        ours = one.end_offset  # of a resend
        end = ends[one.topic, one.partition] if ours is None else ours
        counts = found.setdefault(one.lane, [0, 0])
        counts[0] += len(one.open_offsets)
        counts[1] += max(end - one.next_offset, 0)
    return [LaneBacklog(lane=lane, open=some[0], unread=some[1]) for lane, some in found.items()]


def facts(
    one: WebhookSubscriber,
    lanes: Sequence[LaneBacklog],
    resent: ResendProgress | None,
    now: datetime,
) -> Sequence[tuple[str, object]]:
    """Return questions about a subscriber, and the answers."""
    shown = dict(zip(LIST, list_row(one, now), strict=True))
    waiting = "; ".join(f"{each.lane}: {each.open} open, {each.unread} unread" for each in lanes)
    return [
        *((title, shown[column]) for column, title in LIST.items()),
        ("requests at a time", one.parallel),
        ("added", one.created_at),
        ("paused", one.paused_at),
        ("failing since", one.failing_since),
        ("last failure", one.last_failure),
        ("of", one.last_failure_at),
        ("signed with the former secret until", one.former_until),
        ("backlog", waiting),
        ("resend", resent and _in_words(resent)),
    ]


def _in_words(resent: ResendProgress) -> str:
    state = resent.state
    if resent.finished_at is not None:
        state += f" {turkish(resent.finished_at)}"
    taken = f"{resent.brought} of {resent.planned} events taken"
    return f"no. {resent.id} of {turkish(resent.ordered_at)}, {state}: {taken}"


def as_json(
    one: WebhookSubscriber,
    lanes: Sequence[LaneBacklog],
    attempts: Sequence[Mapping[str, Any]],
    resent: ResendProgress | None,
    now: datetime,
) -> dict[str, Any]:
    """Return a subscriber for programs; never its secrets."""
    return {
        **one.shown(),
        "customer_id": one.customer_id,
        "state": one.state_at(now),
        "created_at": one.created_at,
        "paused_at": one.paused_at,
        "paused_for": one.paused_for,
        "failing_since": one.failing_since,
        "last_failure": one.last_failure,
        "last_failure_at": one.last_failure_at,
        "former_secret_until": one.former_until,
        "backlog": {each.lane: {"open": each.open, "unread": each.unread} for each in lanes},
        "attempts": [dict(row) for row in attempts],
        "resend": None if resent is None else asdict(resent) | {"state": resent.state},
    }


def attempt_row(row: Mapping[str, Any]) -> list[object]:
    """Return the row of a failed attempt."""
    place = f"{row['topic']}/{row['partition']}/{row['offset']}"
    return [row["failed_at"], place, row["attempt"], row["status"], row["failure"]]
