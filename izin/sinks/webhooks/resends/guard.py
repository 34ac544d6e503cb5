"""Let out of a resend only what holds when it is posted, whatever comes meanwhile.

The ledger says what holds of a key. It may be behind the order stage, and opt-outs reach the
subscriber before the ledger has them: so a permission waits until the ledger has every decision
that there was when the resend began, and is left out where an opt-out of its key was read since.
What is read of a key while the ledger is asked has it asked again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from izin.kafka.partition_client import Place
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.sinks.ingest.topic_reader import identities_of
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import deliveries, resends
from izin.sinks.ledger.webhooks.resends import HISTORY, OpenResend
from izin.sinks.ledger.webhooks.subscriber import WebhookType
from izin.sinks.webhooks.events import WebhookEvent
from izin.sinks.webhooks.partitions import bounds, places_of
from izin.sinks.webhooks.resends.repetition import is_overtaken, is_selected, marked

_LOOK = 0.5
"""Seconds between two looks how far the ledger is."""
_MOST_OPTED_OUT = 100_000
"""Keys that opted out since the ledger was waited for last; with more it is waited for again."""

_log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class RepetitionGuard:
    """What one resend may post to one subscriber."""

    ledger: Ledger
    kafka: KafkaSettings
    subscriber_id: int
    resend: OpenResend
    _opted_out: set[str] = field(default_factory=set)
    """Keys of opt-outs that were read beside the resend, which the ledger may not have."""
    _asking: list[set[str]] = field(default_factory=list)
    """For each question to the ledger, the keys of events that were read since it was asked."""
    _is_known: bool = False
    """Whether the ledger has every opt-out but those."""

    def note(self, event: WebhookEvent) -> None:
        """Note an event that was read beside the resend, and goes to the subscriber."""
        for meanwhile in self._asking:
            meanwhile.add(event.key)
        if event.type == WebhookType.OPTED_OUT:
            self._opted_out.add(event.key)

    async def review(self, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        """Return those of ``events`` that are sent again, marked; post them before anything else
        is awaited.

        Raises:
            LedgerUnavailableError: what holds is not known now.
            StreamUnavailableError: Kafka does not say how far the decisions are.
        """
        selection = self.resend.selection
        wanted = [one for one in events if is_selected(one, selection)]
        if selection.only_missing:
            wanted = await never_acknowledged(self.ledger, self.subscriber_id, wanted)
        return [marked(one, self.resend) for one in await self._holding(wanted)]

    async def _holding(self, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
        if any(one.type == WebhookType.GRANTED for one in events):
            await self._have_opt_outs_known()
        keys, meanwhile = {one.key for one in events}, set[str]()
        self._asking.append(meanwhile)
        try:
            found = await holding(self.ledger, events)
            while not meanwhile.isdisjoint(keys):
                meanwhile.clear()
                found = await holding(self.ledger, events)
        finally:
            self._asking = [one for one in self._asking if one is not meanwhile]
        return [
            one
            for one in found
            if one.type != WebhookType.GRANTED or one.key not in self._opted_out
        ]

    async def _have_opt_outs_known(self) -> None:
        """Return when the ledger has every opt-out but those noted since this was called."""
        if self._is_known and len(self._opted_out) < _MOST_OPTED_OUT:
            return
        self._is_known = False
        self._opted_out.clear()
        topic = self.kafka.topics.decisions.name
        found = await asyncio.to_thread(identities_of, self.kafka, [topic])
        kept = await asyncio.to_thread(bounds, self.kafka, places_of(found))
        waits = False
        while _is_behind(kept.items(), await reads.ingested(self.ledger)):
            if not waits:
                _log.info("resend waits for the ledger", resend=self.resend.id)
            waits = True
            await asyncio.sleep(_LOOK)
        self._is_known = True


def _is_behind(
    kept: Iterable[tuple[Place, tuple[int, int]]], ingested: dict[tuple[str, int], int]
) -> bool:
    return any(start < end and ingested.get(place, 0) < end for place, (start, end) in kept)


async def holding(ledger: Ledger, events: Sequence[WebhookEvent]) -> list[WebhookEvent]:
    """Return those of ``events`` that still hold, by the ledger."""
    found = await resends.standings(ledger, {one.key for one in events}) if events else {}
    return [one for one in events if not is_overtaken(one, found.get(one.key))]


async def never_acknowledged(
    ledger: Ledger, subscriber_id: int, events: Sequence[WebhookEvent]
) -> list[WebhookEvent]:
    """Return those of ``events`` that the subscriber has never acknowledged."""
    offsets, older = defaultdict[Place, list[int]](list), set[str]()
    for one in events:
        if one.topic == HISTORY:
            older.add(one.key)
        else:
            offsets[one.place].append(one.offset)
    taken = {
        (place, offset)
        for place, some in offsets.items()
        for offset in await deliveries.acknowledged(ledger, subscriber_id, *place, some)
    }
    ids = await deliveries.acknowledged_ids(ledger, subscriber_id, older) if older else ()
    return [
        one for one in events if (one.place, one.offset) not in taken and one.webhook_id not in ids
    ]
