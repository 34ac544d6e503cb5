"""The subscribers: what each is posted and still lacks, a test event, and what a resend brings.

Nothing here has a secret of a subscriber in its result.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from izin.consent import SourceError
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import WebhookSubscriber
from izin.runtime.settings import KafkaSettings, WebhookSettings
from izin.schemas.codec import Codec
from izin.views.cut import CustomerCut
from izin.webhooks import resends
from izin.webhooks.events import PING, body_of
from izin.webhooks.partitions import ends
from izin.webhooks.posting import Poster, Reply, signed
from izin.webhooks.resends import CountedResend, Resend, planned

_ATTEMPTS = 10
_IN_TIME = timedelta(minutes=2)
"""Who delivers notes once a minute that nothing is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSubscriber:
    """A subscriber in the list."""

    subscriber: WebhookSubscriber
    state: str
    lag: timedelta | None
    """How long ago it last had everything; None: it lacks nothing."""
    open: int
    """Events that were read for it, and that it has not acknowledged."""

    def shown(self) -> dict[str, Any]:
        """Return it as JSON values, without its secrets."""
        one = self.subscriber
        return one.shown() | {"customer_id": one.customer_id, "state": self.state}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberDetails:
    """A subscriber with what it still lacks."""

    subscriber: WebhookSubscriber
    state: str
    lag: timedelta | None
    """How long ago it last had everything; None: it lacks nothing."""
    backlog: Mapping[str, Counter[str]]
    """By lane what is ``open``, and what is ``unread``, of which some is for others."""
    attempts: Sequence[Mapping[str, Any]]
    """The latest that failed."""
    resend: Mapping[str, Any] | None
    """The latest."""

    @property
    def open(self) -> int:
        """Events that were read for it, and that it has not acknowledged."""
        return sum(one["open"] for one in self.backlog.values())

    def shown(self) -> dict[str, Any]:
        """Return it as JSON values, without its secrets."""
        one = self.subscriber
        return {
            **one.shown(),
            "customer_id": one.customer_id,
            "state": self.state,
            "created_at": one.created_at,
            "had_everything_at": one.caught_up_at,
            "paused_at": one.paused_at,
            "paused_for": one.paused_for,
            "failing_since": one.failing_since,
            "last_failure": one.last_failure,
            "last_failure_at": one.last_failure_at,
            "former_secret_until": one.former_until,
            "backlog": self.backlog,
            "attempts": self.attempts,
            "resend": self.resend,
        }


async def listed(
    ledger: Ledger, cut: CustomerCut, *, now: datetime
) -> tuple[ListedSubscriber, ...]:
    """Return the subscribers of a customer, or of all, by name."""
    found = [one for one in await registry.every(ledger) if cut.has(one.customer_id)]
    waiting: Counter[int] = Counter()
    for cursor in await registry.cursors_of(ledger, [one.id for one in found]):
        waiting[cursor.subscriber_id] += len(cursor.open_offsets)
    return tuple(
        ListedSubscriber(
            subscriber=one,
            state=one.state_at(now),
            lag=_lag(one, now),
            open=waiting[one.id],
        )
        for one in found
    )


def _lag(one: WebhookSubscriber, now: datetime) -> timedelta | None:
    lag = now - one.caught_up_at
    return lag if lag > _IN_TIME else None


async def details(
    ledger: Ledger, kafka: KafkaSettings | None, name: str, *, now: datetime
) -> SubscriberDetails:
    """Return the subscriber of ``name``; without Kafka nobody knows what is unread.

    Raises:
        UnknownSubscriberError: there is none.
        StreamUnavailableError: Kafka does not say where its topics end.
    """
    found = await registry.of_name(ledger, name)
    cursors = await registry.cursors_of(ledger, [found.id])
    followed = [cursor.place for cursor in cursors if cursor.end_offset is None]
    known = {} if kafka is None else await asyncio.to_thread(ends, kafka, followed)
    backlog: dict[str, Counter[str]] = {}
    for one in cursors:
        end = known.get(one.place, 0) if one.end_offset is None else one.end_offset
        unread = max(end - one.next_offset, 0)
        backlog.setdefault(one.lane, Counter()).update(open=len(one.open_offsets), unread=unread)
    return SubscriberDetails(
        subscriber=found,
        state=found.state_at(now),
        lag=_lag(found, now),
        backlog=backlog,
        attempts=await registry.latest_attempts(ledger, found.id, most=_ATTEMPTS),
        resend=await resends.latest(ledger, found.id),
    )


async def ping(ledger: Ledger, settings: WebhookSettings, name: str, *, by: str) -> Reply:
    """Post a test event to the subscriber of a name, and record that; where it is taken, what the
    subscriber refused before is posted at once.

    Raises:
        UnknownSubscriberError: there is none.
    """
    found, now = await registry.of_name(ledger, name), datetime.now(UTC)
    poster = Poster.to(found, settings, settings.tls_context())
    body = body_of(PING, now, {"customer_id": found.customer_id, "subscriber": found.name})
    webhook_id = f"msg_{secrets.token_hex(20)}"
    try:
        signing = found.secrets_at(now, ledger.secret_keys)
        reply = await poster.post(signed(signing, webhook_id, now, body), body)
    finally:
        await poster.close()
    result = reply.failure or f"status {reply.status}"
    await registry.tested(
        ledger, name, result=result, is_taken=reply.is_acknowledgement, by=by, now=now
    )
    return reply


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendOrder:
    """What is sent again, and whose; of everybody where nobody is named."""

    resend: Resend
    keys: Collection[str] = ()
    """Canonical keys."""
    recipients: Collection[str] = ()
    """Normalised."""
    cut: CustomerCut | None = None
    """Of whose brands something must be known of these recipients; None: of any."""


async def counted(
    ledger: Ledger,
    kafka: KafkaSettings,
    codec: Codec,
    names: Sequence[str],
    order: ResendOrder,
) -> list[CountedResend]:
    """Return what each subscriber would be sent.

    Raises:
        UnknownSubscriberError: there is none of one of the names.
        SourceError: nothing is known of any recipient that is named.
        StreamUnavailableError: Kafka does not answer.
    """
    resend = order.resend
    if order.keys or order.recipients:
        found = await reads.keys_of(ledger, order.recipients)
        keys = {
            *order.keys,
            *(
                key
                for some in found.values()
                for key in some
                if order.cut is None or order.cut.has(int(key.partition("/")[0]))
            ),
        }
        if not keys:
            raise SourceError("nothing is known of any recipient given")
        resend = replace(resend, keys=frozenset(keys))
    return [await planned(ledger, kafka, codec, name, resend) for name in names]
