"""Event sets in which statements contradict one another, as nastily as sources can.

All of it happens within seconds: ONAY and RET share a second, other ids and ranks share second and
status, an event comes twice, and one event id is told in two ways. Our systems speak, İYS's
citizens do, and other providers; RETs are undated, dated ahead, or such that İYS would not take
them; merchants give what needs no date. Chance is an argument.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from izin.consent.admission import SKEW, admit
from izin.consent.model import (
    AdmittedEvent,
    Channel,
    ConsentEvent,
    IysOrigin,
    RecipientType,
    Source,
    Status,
)

if TYPE_CHECKING:
    from random import Random

    from izin.consent.admission import RefusedEvent

_BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_FEW_SECONDS = 4
_KEYS_SHARE = 6
"""So many events a key, on average."""
_TWISTED = 0.5
"""How much of a set repeats or contradicts an earlier event of it."""

_SOURCES = (Source.HS_WEB, Source.HS_MOBIL, Source.HS_CAGRI_MERKEZI)
_FAULTS: tuple[dict[str, Any], ...] = (
    {"source": None},
    {"source": "HS_NOWHERE"},
    {"consent_date": _BEGAN - timedelta(days=365 * 20)},
    {"consent_date": _BEGAN + timedelta(days=1)},
    {"retailer_code": 7},
    {"retailer_access": ()},
)
"""What makes a RET such that İYS would not take it as it stands."""


def contradicting(size: int, *, rng: Random) -> list[AdmittedEvent]:
    """Return the claims of ``size`` events that contradict one another on a few keys.

    There may be fewer: what the law does not admit makes no claim.
    """
    keys = rng.randint(1, 1 + size // _KEYS_SHARE)
    said: list[tuple[ConsentEvent, datetime]] = []
    for _ in range(size):
        if said and rng.random() < _TWISTED:
            event, appended_at = rng.choice(said)
            event = replace(event, **_twist(event, rng))
        else:
            # The smaller a key's number, the more is said of it.
            event = _drawn(int(keys * rng.random() ** 2), rng)
            appended_at = _BEGAN + timedelta(seconds=2 * _FEW_SECONDS + rng.randrange(2))
        said.append((event, appended_at))
    judged: list[AdmittedEvent | RefusedEvent] = [
        admit(event, appended_at=at) for event, at in said
    ]
    return [one for one in judged if isinstance(one, AdmittedEvent)]


def _drawn(number: int, rng: Random) -> ConsentEvent:
    """Return an event on the key of this ``number``."""
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
        "received_at": rng.choice((None, _BEGAN + timedelta(seconds=_FEW_SECONDS))),
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
    return _BEGAN + timedelta(
        seconds=rng.randrange(_FEW_SECONDS), milliseconds=rng.choice((0, 1, 999))
    )


def _recipient(number: int, channel: Channel, rng: Random) -> str:
    """Return one of the ways to write the same address."""
    if channel is Channel.EPOSTA:
        return rng.choice((f"kisi{number}@example.com", f" Kisi{number}@Example.com"))
    return rng.choice((f"+90500{number:07}", f"0500 {number:07}", f"0090500{number:07}"))


def _by_iys(at: datetime, rng: Random) -> dict[str, Any]:
    """Return what makes of an event a movement that İYS told: its citizens', or a provider's."""
    stream = rng.choice(("IYS", "HS"))
    path = rng.choice(("push", "pull"))
    return {
        "origin": "iys" if stream == "IYS" else "iys-hs",
        "source": rng.choice(("IYS_WEB", "IYS_MOBIL")) if stream == "IYS" else Source.HS_WEB,
        "consent_date": rng.choice((at, None, at - timedelta(days=400))),
        "iys": IysOrigin(stream=stream, path=path, creation_date=at),
    }


def _twist(event: ConsentEvent, rng: Random) -> dict[str, Any]:
    """Return what is said otherwise when ``event`` is told again; nothing: it is a repetition."""
    other = Status.ONAY if event.status == Status.RET else Status.RET
    twists: tuple[dict[str, Any], ...] = (
        {},
        {"status": other},
        {"event_id": f"event-{rng.randrange(3)}"},
        {"source": rng.choice((*_SOURCES, "HS_NOWHERE"))},
        {"origin": "twice-told"},
        {"customer_id": "other"},
        {"consent_date": _instant(rng)},
        {"consent_date": None},
        _by_iys(_instant(rng) if event.iys is None else event.iys.creation_date, rng),
    )
    return rng.choice(twists)
