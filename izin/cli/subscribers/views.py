"""What is shown of a subscriber: what it gets, how it is, and what it still lacks."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from izin.cli.terminal import turkish
from izin.ledger.db import Ledger
from izin.ledger.webhooks import registry
from izin.runtime.settings import KafkaSettings
from izin.webhooks import resends
from izin.webhooks.partitions import bounds

_ATTEMPTS = 10
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
class SubscriberView:
    """A subscriber with what it still lacks, its latest failures, and its latest resend."""

    subscriber: registry.WebhookSubscriber
    open: Mapping[str, int]
    """By lane: records that were read for it and not acknowledged, or refused."""
    unread: Mapping[str, int]
    """By lane: records that were not read for it; not all of them are for it."""
    attempts: Sequence[Mapping[str, Any]]
    """That failed, the latest first."""
    resend: Mapping[str, Any] | None
    now: datetime

    def facts(self) -> Sequence[tuple[str, object]]:
        """Return questions about the subscriber, and the answers."""
        one = self.subscriber
        shown = dict(zip(LIST, list_row(one, self.now), strict=True))
        waiting = [
            f"{lane}: {count} open, {self.unread[lane]} unread" for lane, count in self.open.items()
        ]
        return [
            *((title, shown[column]) for column, title in LIST.items()),
            ("requests at a time", one.parallel),
            ("added", one.created_at),
            ("paused", one.paused_at),
            ("failing since", one.failing_since),
            ("last failure", one.last_failure),
            ("of", one.last_failure_at),
            ("signed with the former secret until", one.former_until),
            ("backlog", "; ".join(waiting)),
            ("resend", self.resend and _in_words(self.resend)),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the subscriber for programs; never its secrets."""
        one = self.subscriber
        return {
            **one.shown(),
            "customer_id": one.customer_id,
            "state": one.state_at(self.now),
            "created_at": one.created_at,
            "paused_at": one.paused_at,
            "paused_for": one.paused_for,
            "failing_since": one.failing_since,
            "last_failure": one.last_failure,
            "last_failure_at": one.last_failure_at,
            "former_secret_until": one.former_until,
            "backlog": {
                lane: {"open": count, "unread": self.unread[lane]}
                for lane, count in self.open.items()
            },
            "attempts": self.attempts,
            "resend": self.resend,
        }


async def look(ledger: Ledger, kafka: KafkaSettings, name: str, *, now: datetime) -> SubscriberView:
    """Return what is to be shown of the subscriber of ``name``.

    Raises:
        UnknownSubscriberError: there is none.
        StreamUnavailableError: Kafka does not say where its topics end.
    """
    found = await registry.of_name(ledger, name)
    cursors = await registry.cursors_of(ledger, [found.id])
    followed = [one.place for one in cursors if one.end_offset is None]
    kept = await asyncio.to_thread(bounds, kafka, followed)
    open_, unread = Counter[str](), Counter[str]()
    for one in cursors:
        end = kept[one.place][1] if one.end_offset is None else one.end_offset
        open_[one.lane] += len(one.open_offsets)
        unread[one.lane] += max(end - one.next_offset, 0)
    return SubscriberView(
        subscriber=found,
        open=open_,
        unread=unread,
        attempts=await registry.latest_attempts(ledger, found.id, most=_ATTEMPTS),
        resend=await resends.latest(ledger, found.id),
        now=now,
    )


def list_row(one: registry.WebhookSubscriber, now: datetime) -> list[object]:
    """Return the row of a subscriber in the list."""
    shown = one.shown() | {"customer_id": one.customer_id, "state": one.state_at(now)}
    for many in ("types", "brands", "channels", "origins"):
        shown[many] = " ".join(map(str, shown[many])) or "all"
    return [shown[column] for column in LIST]


def _in_words(resend: Mapping[str, Any]) -> str:
    state = resend["state"]
    if resend["finished_at"] is not None:
        state += f" {turkish(resend['finished_at'])}"
    taken = f"{resend['brought']} of {resend['planned']} events taken"
    return f"no. {resend['id']} of {turkish(resend['ordered_at'])}, {state}: {taken}"


def attempt_row(row: Mapping[str, Any]) -> list[object]:
    """Return the row of a failed attempt."""
    place = f"{row['topic']}/{row['partition']}/{row['offset']}"
    return [row["failed_at"], place, row["attempt"], row["status"], row["failure"]]
