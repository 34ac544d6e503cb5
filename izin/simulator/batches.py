"""Batches: accepted at once, saved later. A requestId says "taken in", never "saved".

A batch is evaluated as of its due instant (acceptance plus the result delay), in order of those
instants, whenever the twin is next looked at or its ticker comes by; so moving the clock is enough
to see results. Until then a result query sees first an empty list, then `enqueue`.
"""

import heapq
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from izin.simulator.accounts import Brand
from izin.simulator.answers import error, refused
from izin.simulator.clock import wire_text
from izin.simulator.fields import Consent
from izin.simulator.register import Movement, Origin, Path, Register
from izin.simulator.rules import refusal_code
from izin.simulator.settings import Settings
from izin.simulator.texts import FIRST_RET_IN_BATCH

_DAY = 86400.0
_REQUEST_ID_LENGTH = 36


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """An item that is in the register; `is_resend` if an earlier batch had brought the same."""

    movement: Movement
    is_resend: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """An item the stored-record rules refused."""

    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A list taken in; its instants are epoch seconds, its outcomes stand beside the items.

    `outcomes` is empty until the batch is processed, and as long as `items` from then on.
    """

    request_id: str
    brand_code: int
    is_v2: bool
    client: str
    accepted_at: float
    enqueued_at: float
    due_at: float
    items: Sequence[Consent]
    sub_request_ids: Sequence[str]
    outcomes: list[Saved | Failed] = field(default_factory=list)


class BatchQueue:
    """Batches by requestId, and those not yet processed by their due instant."""

    def __init__(self) -> None:
        self._batches: dict[str, Batch] = {}
        self._waiting: list[tuple[float, int, Batch]] = []
        self._accepted = 0

    def accept(  # noqa: PLR0913 - so many facts a batch has
        self,
        items: Sequence[Consent],
        *,
        brand: Brand,
        client: str,
        now: float,
        is_v2: bool,
        settings: Settings,
    ) -> Batch:
        """Take a list in; nothing of it is saved yet."""
        request_id = uuid.uuid4()
        batch = Batch(
            request_id=request_id.hex if settings.request_id_format == "hex" else str(request_id),
            brand_code=brand.code,
            is_v2=is_v2,
            client=client,
            accepted_at=now,
            enqueued_at=now + settings.result_delay * settings.enqueue_share,
            due_at=now + settings.result_delay,
            items=items,
            sub_request_ids=[str(uuid.uuid4()) for _ in items],
        )
        self._batches[batch.request_id] = batch
        self._accepted += 1
        heapq.heappush(self._waiting, (batch.due_at, self._accepted, batch))
        return batch

    def take_due(self, now: float) -> Iterator[Batch]:
        """Give the batches to be processed by `now`, the earliest due first."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]

    def waiting(self) -> list[Batch]:
        """Give the batches not yet processed."""
        return [entry[2] for entry in self._waiting]

    @property
    def next_due_at(self) -> float | None:
        """When the next batch is to be processed (epoch seconds)."""
        return self._waiting[0][0] if self._waiting else None

    def find(self, request_id: str, brand_code: int, now: float, days: int) -> Batch | None:
        """Give the brand's batch of this requestId, unless it is older than `days`."""
        batch = self._batches.get(request_id)
        if batch is None or batch.brand_code != brand_code:
            return None
        return batch if batch.accepted_at > now - days * _DAY else None

    def __len__(self) -> int:
        """How many batches were taken in."""
        return len(self._batches)

    def clear(self) -> None:
        """Forget all batches."""
        self._batches.clear()
        self._waiting.clear()


def process(batch: Batch, register: Register, brand: Brand, *, occurred_at: int) -> None:
    """Save what may be saved, as of the due instant, and note the outcome of each item."""
    second = int(batch.due_at)
    for consent, sub_request_id in zip(batch.items, batch.sub_request_ids, strict=True):
        earlier = register.saved_items.get(consent) if batch.is_v2 else None
        if earlier is not None:
            batch.outcomes.append(Saved(movement=earlier, is_resend=True))
            continue
        current = register.records.get(consent.key)
        is_full = register.is_full(brand) and not register.knows_address(consent.recipient)
        code = refusal_code(consent, current, is_full=is_full)
        if code is not None:
            batch.outcomes.append(Failed(code=code))
            continue
        origin = Origin(
            path=Path.BATCH,
            client=batch.client,
            request_id=batch.request_id,
            sub_request_id=sub_request_id,
        )
        movement = register.save(consent, second=second, occurred_at=occurred_at, origin=origin)
        register.saved_items[consent] = movement
        batch.outcomes.append(Saved(movement=movement))


def receipt(batch: Batch) -> dict[str, object]:
    """Tell what the 202 says: the requestId and a sub-request for each item, in order."""
    creation_date = wire_text(int(batch.accepted_at))
    return {
        "requestId": batch.request_id,
        "subRequests": [
            _receipt_item(consent, sub_request_id, creation_date)
            for consent, sub_request_id in zip(batch.items, batch.sub_request_ids, strict=True)
        ],
    }


def results(batch: Batch | None, now: float, *, is_v2: bool) -> list[dict[str, object]]:
    """Give the answer of a result query at `now`; empty for unknown and too recent batches."""
    if batch is None or (not batch.outcomes and now < batch.enqueued_at):
        return []
    if not batch.outcomes:
        return [
            {"index": index, "status": "enqueue", "subrequestId": sub_request_id}
            for index, sub_request_id in enumerate(batch.sub_request_ids)
        ]
    return [
        _result(batch, index, outcome, is_v2=is_v2) for index, outcome in enumerate(batch.outcomes)
    ]


def check_request_id(request_id: str) -> None:
    """Raise H198 (too long), H199 (letters only) or H400 (digits only)."""
    if len(request_id) > _REQUEST_ID_LENGTH:
        raise refused("H198", location=["requestId"], value=request_id)
    if request_id.isalpha():
        raise refused("H199", location=["requestId"], value=request_id)
    if request_id.isdigit():
        raise refused("H400", location=["requestId"], value=request_id)


def _receipt_item(consent: Consent, sub_request_id: str, creation_date: str) -> dict[str, object]:
    item: dict[str, object] = {
        "type": consent.type,
        "source": consent.source,
        "recipient": consent.recipient,
        "status": consent.status,
        "consentDate": consent.consent_date,
        "recipientType": consent.recipient_type,
        "subRequestId": sub_request_id,
        "creationDate": creation_date,
    }
    if not consent.source:
        del item["source"]
    if not consent.consent_date:
        del item["consentDate"]
    return item


def _result(batch: Batch, index: int, outcome: Saved | Failed, *, is_v2: bool) -> dict[str, object]:
    sub_request_id = batch.sub_request_ids[index]
    if isinstance(outcome, Failed):
        text = FIRST_RET_IN_BATCH if outcome.code == "H175" else None
        return {
            "subRequestId": sub_request_id,
            "index": index,
            "status": "failure",
            "error": error(outcome.code, message=text),
        }
    answer: dict[str, object] = {
        "requestId": batch.request_id,
        "subRequestId": sub_request_id,
        "index": index,
        "transactionId": outcome.movement.transaction_id,
        "status": "success",
        "creationDate": outcome.movement.creation_date,
    }
    if is_v2:
        answer["isAddConsentV2Service"] = "true"
        if outcome.is_resend:
            answer["originalRequestInformation"] = {
                "requestId": outcome.movement.origin.request_id,
                "subRequestId": outcome.movement.origin.sub_request_id,
            }
    return answer
