"""Generate canonical events: several for each key, some repeated, some late."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from izin.consent import ConsentEvent

BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)

_REPEATED = 0.20
_LATE = 0.05
_RETS = 0.2
_HOUR_SECONDS = 3600


def canonical_events(count: int, *, keys: int, rng: Random) -> Sequence[ConsentEvent]:
    """Return ``count`` admissible events over ``keys`` recipients, a second apart.

    A fifth repeat an earlier event exactly, a twentieth come up to an hour late.
    """
    events: list[ConsentEvent] = []
    while len(events) < count:
        if events and rng.random() < _REPEATED:
            events.append(rng.choice(events))
            continue
        late = rng.randrange(_HOUR_SECONDS) if rng.random() < _LATE else 0
        stated = BEGAN + timedelta(seconds=len(events) - late)
        events.append(
            ConsentEvent(
                event_id=f"bench-{len(events)}",
                customer_id="bench",
                brand_code=600_001,
                type="MESAJ",
                recipient_type="BIREYSEL",
                recipient=f"+90500{rng.randrange(keys):07d}",
                status="RET" if rng.random() < _RETS else "ONAY",
                source="HS_WEB",
                consent_date=stated,
                received_at=stated + timedelta(seconds=1),
                origin="web",
            )
        )
    return events
