"""Ours with the peers' work only: the order worker, its transport, state and transactions as they
are, and the peers' rule in the place of the law.

One ``consents`` row a change, no other output; what cannot be decoded is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

from izin.bench.peers import ours_everything
from izin.bench.peers.latest_wins import effective_at, wins
from izin.bench.peers.task import Task
from izin.consent.making import maker
from izin.consent.model import Consent, ConsentKey, OriginRank, Status
from izin.consent.words import CHANNELS, RECIPIENT_TYPES, STATUSES
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import consent_to_avro
from izin.streams import worker
from izin.streams.order import Effects, Write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from izin.schemas.topics import Topics
    from izin.streams.guard import SourceRecord
    from izin.streams.state import State

_consent = maker(Consent)
_consent_key = maker(ConsentKey)


class LatestWinsStage:
    """Folds batches by the peers' rule."""

    def __init__(self, *, topics: Topics, partitions: int, codec: Codec) -> None:  # noqa: ARG002  # the stage's own signature
        self._consents = topics.consents.name
        self._codec = codec

    def fold(self, partition: int, records: Iterable[SourceRecord], state: State) -> Effects:
        """Return the rows that ``records`` make over ``state``."""
        effects = Effects()
        changes, writes = effects.changes, effects.writes
        for record in records:
            key = record.key or b""
            try:
                event = self._codec.decode("ConsentEvent", record.value or b"")
            except UndecodableError:
                continue
            at = effective_at(event)
            held = changes.get(key) or state.get(key)
            if held is not None and not wins(at, event["status"], held.effective_at, held.status):
                continue
            row = changes[key] = _row(event, at, held)
            writes.append(
                Write(
                    topic=self._consents,
                    partition=partition,
                    key=key,
                    value=self._codec.encode("Consent", consent_to_avro(row)),
                    headers=[],
                )
            )
        return effects


def _row(event: dict[str, Any], at: datetime, held: Consent | None) -> Consent:
    status = STATUSES[event["status"]]
    onay_at = None if held is None else held.latest_onay_at
    ret_at = None if held is None else held.latest_ret_at
    if held is None:
        key = _consent_key(
            brand_code=event["brand_code"],
            channel=CHANNELS[event["type"]],
            recipient_type=RECIPIENT_TYPES[event["recipient_type"]],
            recipient=event["recipient"],
        )
    else:
        key = held.key
    return _consent(
        key=key,
        customer_id=event["customer_id"],
        status=status,
        effective_at=at,
        origin_rank=OriginRank.OURS,
        event_id=event["event_id"],
        origin=event["origin"],
        source=event["source"],
        consent_date=event["consent_date"],
        registrable=True,
        latest_onay_at=at if status is Status.ONAY else onay_at,
        latest_ret_at=at if status is Status.RET else ret_at,
    )


def main(task: Task) -> None:
    """Run until ended."""
    with mock.patch.object(worker, "OrderStage", LatestWinsStage):
        ours_everything.main(task)


if __name__ == "__main__":
    main(Task.told())
