"""Generated sets of events that contradict one another.

Everything happens within seconds: ONAY and RET share a second, several ids and ranks share second
and status, an event is repeated, and one event id has two contents. Events come from our systems,
from citizens at İYS and from other providers; RETs are undated, dated ahead, or not registrable;
merchants need no date. Randomness is an argument.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from izin.consent.admission import SKEW, RefusedEvent, admit
from izin.consent.model import (
    AdmittedEvent,
    Channel,
    ConsentEvent,
    IysOrigin,
    RecipientType,
    Source,
    Status,
)

_START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_FEW_SECONDS = 4
_EVENTS_PER_KEY = 6
"""On average."""
_VARIED = 0.5
"""The fraction of a set that repeats or contradicts an earlier event of it."""

_SOURCES = (Source.HS_WEB, Source.HS_MOBIL, Source.HS_CAGRI_MERKEZI)
_FAULTS: tuple[dict[str, Any], ...] = (
    {"source": None},
    {"source": "HS_NOWHERE"},
    {"consent_date": _START - timedelta(days=365 * 20)},
    {"consent_date": _START + timedelta(days=1)},
    {"retailer_code": 7},
    {"retailer_access": ()},
)
"""What makes a RET unregistrable."""


def contradicting_events(size: int, *, rng: Random) -> list[AdmittedEvent]:
    """Return ``size`` events that contradict one another on a few keys, without refused ones."""
    keys = rng.randint(1, 1 + size // _EVENTS_PER_KEY)
    generated: list[tuple[ConsentEvent, datetime]] = []
    for _ in range(size):
        if generated and rng.random() < _VARIED:
            event, appended_at = rng.choice(generated)
            event = replace(event, **_variation(event, rng))
        else:
            # The lower the number of a key, the more events it has.
            event = _event(int(keys * rng.random() ** 2), rng)
            appended_at = _START + timedelta(seconds=2 * _FEW_SECONDS + rng.randrange(2))
        generated.append((event, appended_at))
    results: list[AdmittedEvent | RefusedEvent] = [
        admit(event, appended_at=at) for event, at in generated
    ]
    return [one for one in results if isinstance(one, AdmittedEvent)]


def _event(number: int, rng: Random) -> ConsentEvent:
    """Return an event on the key with this ``number``."""
    channel = tuple(Channel)[number % 3]
    is_merchant = number % 4 == 1
    status = rng.choice(tuple(Status))
    at = _instant(rng)
    fields: dict[str, Any] = {
        "event_id": f"event-{rng.randrange(3)}",
        "customer_id": "acme",
        "brand_code": 100001 + number % 2,
        "type": channel,
        "recipient_type": RecipientType.TACIR if is_merchant else RecipientType.BIREYSEL,
        "recipient": _recipient(number, channel, rng),
        "status": status,
        "origin": rng.choice(("crm", "web")),
        "source": rng.choice(_SOURCES),
        "consent_date": at,
        "received_at": rng.choice((None, _START + timedelta(seconds=_FEW_SECONDS))),
    }
    if rng.random() < 1 / 2:
        return ConsentEvent(**fields | _by_iys(at, rng))
    if (status is Status.RET or is_merchant) and rng.random() < 1 / 4:
        fields["consent_date"] = None
    elif status is Status.RET and rng.random() < 1 / 3:
        fields |= rng.choice(_FAULTS)
    elif rng.random() < 1 / 4:
        fields["received_at"] = at - rng.random() * SKEW
    return ConsentEvent(**fields)


def _instant(rng: Random) -> datetime:
    return _START + timedelta(
        seconds=rng.randrange(_FEW_SECONDS), milliseconds=rng.choice((0, 1, 999))
    )


def _recipient(number: int, channel: Channel, rng: Random) -> str:
    """Return one of the notations of the same recipient."""
    if channel is Channel.EPOSTA:
        return rng.choice((f"kisi{number}@example.com", f" Kisi{number}@Example.com"))
    return rng.choice((f"+90500{number:07}", f"0500 {number:07}", f"0090500{number:07}"))


def _by_iys(at: datetime, rng: Random) -> dict[str, Any]:
    """Return the fields of a movement of İYS: by a citizen, or by a provider."""
    stream = rng.choice(("IYS", "HS"))
    path = rng.choice(("push", "pull"))
    return {
        "origin": "iys" if stream == "IYS" else "iys-hs",
        "source": rng.choice(("IYS_WEB", "IYS_MOBIL")) if stream == "IYS" else Source.HS_WEB,
        "consent_date": rng.choice((at, None, at - timedelta(days=400))),
        "iys": IysOrigin(stream=stream, path=path, creation_date=at),
    }


def _variation(event: ConsentEvent, rng: Random) -> dict[str, Any]:
    """Return the fields in which a repetition of ``event`` differs; empty: in none."""
    other = Status.ONAY if event.status == Status.RET else Status.RET
    variations: tuple[dict[str, Any], ...] = (
        {},
        {"status": other},
        {"event_id": f"event-{rng.randrange(3)}"},
        {"source": rng.choice((*_SOURCES, "HS_NOWHERE"))},
        {"origin": "repeated"},
        {"customer_id": "other"},
        {"consent_date": _instant(rng)},
        {"consent_date": None},
        _by_iys(_instant(rng) if event.iys is None else event.iys.creation_date, rng),
    )
    return rng.choice(variations)
