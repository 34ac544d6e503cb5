"""İYS's movements as our events: one movement is one event, by whichever path it comes.

Push, pull, the daily file and a status query give it one id, UUIDv5 over (key, creation date,
status), so that the order stage drops duplicates. The key is the law's reading of the recipient.
"""

from datetime import datetime
from uuid import UUID, uuid5

from izin.consent import (
    ConsentEvent,
    ConsentKey,
    DateBasis,
    IysOrigin,
    Observation,
    Status,
    is_misspelt,
    read_key,
)
from izin.iys.wire_format import IysMovement, Stream
from izin.ledger.record.brand import Brand

_MOVEMENTS = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e03")


def event_of(
    movement: IysMovement, brand: Brand, stream: Stream, *, path: str, at: datetime
) -> ConsentEvent:
    """Return a movement at İYS as an event, which came by ``path`` and was observed at ``at``."""
    creation = movement.creation_date
    recipient = movement.recipient
    key = f"{brand.brand_code}/{movement.type}/{movement.recipient_type}/{recipient}"
    return ConsentEvent(
        event_id=str(uuid5(_MOVEMENTS, f"{key}|{creation.isoformat()}|{movement.status}")),
        customer_id=brand.customer_id,
        brand_code=brand.brand_code,
        type=movement.type,
        recipient_type=movement.recipient_type,
        recipient=recipient,
        status=movement.status,
        source=movement.source,
        consent_date=movement.consent_date,
        received_at=at,
        date_basis=str(DateBasis.STATED),
        origin="iys" if stream is Stream.IYS else "iys-hs",
        origin_ref=movement.transaction_id or None,
        iys=IysOrigin(
            stream=str(stream),
            path=path,
            creation_date=creation,
            transaction_id=movement.transaction_id or None,
            observed_at=at,
        ),
    )


def key_of(event: ConsentEvent) -> ConsentKey | None:
    """Return the key of İYS's event; None if the law cannot read one."""
    return read_key(event, [])


def observation_of(event: ConsentEvent, key: ConsentKey) -> Observation | None:
    """Return what the event shows for ``key``; None for an ONAY of a misspelt recipient, which
    permits nothing.
    """
    at_iys = event.iys
    if at_iys is None or event.status not in set(Status):
        return None
    if event.status == Status.ONAY and is_misspelt(event, key.recipient):
        return None
    return Observation.of(event, at_iys, verified_at=at_iys.observed_at or at_iys.creation_date)
