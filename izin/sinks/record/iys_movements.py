"""What İYS tells of its own accord, as our events: the same movement is the same event by every
way it comes.

Push, pull, the daily file and a status read give one id, UUIDv5 over (key, creation date, status),
so that the order stage drops what it has seen. The key is the law's own reading of the recipient.
"""

from datetime import datetime
from uuid import UUID, uuid5

from izin.consent.fields import is_misspelt, read_key
from izin.consent.model import ConsentEvent, ConsentKey, DateBasis, IysOrigin, Status
from izin.consent.obligation import Registered
from izin.iys.wire_format.consents import IysMovement, Stream
from izin.sinks.record.apply import Observation
from izin.sinks.record.brand import Brand

_MOVEMENTS = UUID("8c1f4f1e-0c63-5b6e-9d0e-3a2b7c9d4e03")


def event_of(
    movement: IysMovement, brand: Brand, stream: Stream, *, path: str, at: datetime
) -> ConsentEvent:
    """Return the event that a movement at İYS is to us, told by ``path`` and seen at ``at``."""
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
    """Return the key of İYS's event as the law reads it; None if it cannot."""
    return read_key(event, [])


def observation_of(event: ConsentEvent, key: ConsentKey) -> Observation | None:
    """Return what the event states of ``key``; None of an ONAY on a misspelt recipient, which
    opens nothing.
    """
    told = event.iys
    if told is None or event.status not in set(Status):
        return None
    if event.status == Status.ONAY and is_misspelt(event, key.recipient):
        return None
    return Observation(
        value=Registered(event.status),
        creation_date=told.creation_date,
        consent_date=event.consent_date,
        source=event.source,
        transaction_id=told.transaction_id,
        verified_at=told.observed_at or told.creation_date,
        verified_by=told.path,
    )
