"""Batches: accepted at once, processed later. A requestId means "accepted", never "saved".

A batch is processed as of its due instant (acceptance plus the result delay), in order of those
instants, by the ticker or by the next access to the register, so moving the clock is enough to see
results. Until then a result query returns first an empty list, then `enqueue`.
"""

import heapq
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from iys_simulator.rules.consent import Consent
from iys_simulator.rules.register_rules import refusal_code
from iys_simulator.settings import Settings
from iys_simulator.store.accounts import Brand
from iys_simulator.store.database import Database
from iys_simulator.store.movements import Origin, WritePath
from iys_simulator.store.register import Register, SaveContext

_DAY = 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOutcomes:
    """The outcomes of a batch's items, by their place.

    `refused` has the code, a space and the requested status; `resent` the row by which an earlier
    batch saved the same consent. All others are saved, in their order, from the row `first` on.
    """

    first: int = 0
    refused: Mapping[int, str] = field(default_factory=dict)
    resent: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """An accepted list; its instants are in epoch seconds.

    `items` are set until the batch is processed, `outcomes` from then on.
    """

    request_id: str
    brand_code: int
    is_v2: bool
    client: str
    accepted_at: float
    enqueued_at: float
    due_at: float
    size: int
    items: Sequence[Consent] = ()
    outcomes: BatchOutcomes | None = None


class BatchQueue:
    """Batches by requestId, and those that wait, in order of their due instants."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[float, int, Batch]] = []
        row = database.row("count_batches") or (0, 0)
        self._count: int = row[0]
        self._last_number: int = row[1]
        for row in database.run("waiting_batches"):
            items = [_consent(item) for item in orjson.loads(row[8])]
            batch = Batch(
                request_id=row[0],
                brand_code=row[2],
                is_v2=bool(row[3]),
                client=row[4],
                accepted_at=row[5],
                enqueued_at=row[6],
                due_at=row[7],
                size=len(items),
                items=items,
            )
            heapq.heappush(self._waiting, (batch.due_at, row[1], batch))

    def accept(  # noqa: PLR0913 - the fields of a batch
        self,
        items: Sequence[Consent],
        *,
        brand: Brand,
        client: str,
        now: float,
        is_v2: bool,
        settings: Settings,
    ) -> Batch:
        """Accept a list; none of it is saved yet."""
        request_id = uuid.uuid4()
        batch = Batch(
            request_id=request_id.hex if settings.request_id_format == "hex" else str(request_id),
            brand_code=brand.code,
            is_v2=is_v2,
            client=client,
            accepted_at=now,
            enqueued_at=now + settings.result_delay * settings.enqueue_share,
            due_at=now + settings.result_delay,
            size=len(items),
            items=items,
        )
        self._last_number += 1
        self._count += 1
        self._database.run(
            "insert_batch",
            batch.request_id,
            self._last_number,
            batch.brand_code,
            batch.is_v2,
            batch.client,
            batch.accepted_at,
            batch.enqueued_at,
            batch.due_at,
            batch.size,
            orjson.dumps([tuple(item) for item in items]),
        )
        heapq.heappush(self._waiting, (batch.due_at, self._last_number, batch))
        return batch

    def take_due(self, now: float) -> Iterator[Batch]:
        """Yield the batches that are due by `now`, the earliest first."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]

    def waiting(self) -> list[Batch]:
        """Return the batches that are not processed yet."""
        return [entry[2] for entry in self._waiting]

    @property
    def next_due_at(self) -> float | None:
        """When the next batch is due (epoch seconds); None if none waits."""
        return self._waiting[0][0] if self._waiting else None

    def find(self, request_id: str, brand_code: int, now: float, days: int) -> Batch | None:
        """Return the brand's batch of this requestId, unless it is older than `days`."""
        row = self._database.row("batch", request_id)
        if row is None or row[0] != brand_code or row[3] <= now - days * _DAY:
            return None
        return Batch(
            request_id=request_id,
            brand_code=brand_code,
            is_v2=bool(row[1]),
            client=row[2],
            accepted_at=row[3],
            enqueued_at=row[4],
            due_at=row[5],
            size=row[6],
            outcomes=_outcomes(orjson.loads(row[7])) if row[7] else None,
        )

    def settle(self, batch: Batch, outcomes: BatchOutcomes) -> None:
        """Store the outcomes of the batch's items."""
        content = {
            "first": outcomes.first,
            "refused": list(outcomes.refused.items()),
            "resent": list(outcomes.resent.items()),
        }
        self._database.run("put_outcomes", orjson.dumps(content), batch.request_id)

    def __len__(self) -> int:
        """Return how many batches were accepted."""
        return self._count

    def clear(self) -> None:
        """Drop the waiting batches; the caller empties the database."""
        self._waiting.clear()
        self._count = 0


def process(
    batch: Batch, register: Register, brand: Brand, settings: Settings, *, occurred_at: int
) -> BatchOutcomes:
    """Save what the rules allow, as of the due instant, and return each item's outcome."""
    known = register.records_of_all([consent.recipient for consent in batch.items])
    refused: dict[int, str] = {}
    resent: dict[int, int] = {}
    saved: list[tuple[int | None, Consent]] = []
    new_recipients: set[str] = set()
    for place, consent in enumerate(batch.items):
        of_recipient = known.get(consent.recipient)
        key = (consent.type, consent.recipient_type)
        current = of_recipient.get(key) if of_recipient else None
        # Only a record of an equal or later date can be an earlier save of the same consent.
        if batch.is_v2 and current and consent.consent_date <= current.consent_date:
            earlier = register.saved_before(consent)
            if earlier is not None:
                resent[place] = earlier.row
                continue
        is_new = not of_recipient and consent.recipient not in new_recipients
        is_full = is_new and _is_full(register, brand, len(new_recipients))
        code = refusal_code(consent, current, settings, is_full=is_full)
        if code is not None:
            refused[place] = f"{code} {consent.status}"
            continue
        if is_new:
            new_recipients.add(consent.recipient)
        saved.append((place, consent))
    origin = Origin(path=WritePath.BATCH, client=batch.client, request_id=batch.request_id)
    context = SaveContext(second=int(batch.due_at), occurred_at=occurred_at, origin=origin)
    first = register.save_all(saved, known, context) if saved else 0
    return BatchOutcomes(first=first, refused=refused, resent=resent)


def _is_full(register: Register, brand: Brand, additional: int) -> bool:
    limit = brand.consent_limit
    return limit is not None and register.used_limit + additional >= limit


def _consent(item: Sequence[object]) -> Consent:
    *texts, retailer_code, access = item
    names = ("type", "recipient_type", "recipient", "status", "source", "consent_date")
    return Consent(
        **{name: str(text) for name, text in zip(names, texts, strict=True)},
        retailer_code=retailer_code if isinstance(retailer_code, int) else None,
        retailer_access=tuple(access) if isinstance(access, list) else (),
    )


def _outcomes(content: Mapping[str, object]) -> BatchOutcomes:
    first, refused, resent = content["first"], content["refused"], content["resent"]
    return BatchOutcomes(
        first=first if isinstance(first, int) else 0,
        refused=dict(refused) if isinstance(refused, list) else {},
        resent=dict(resent) if isinstance(resent, list) else {},
    )
