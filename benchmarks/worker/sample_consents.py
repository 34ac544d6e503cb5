"""Generate consents as in a real installation: phones and addresses, of a few brands."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from izin.consent import Channel, Consent, ConsentKey, OriginRank, RecipientType, Source, Status

_BEGAN = datetime(2022, 1, 1, tzinfo=UTC)
_SECONDS = 4 * 365 * 86_400
_BRANDS = (600_001, 600_002, 600_003)
_ORIGINS = ("web", "crm", "store", "app")
_SOURCES = (Source.HS_WEB, Source.HS_MOBIL, Source.HS_CAGRI_MERKEZI, Source.HS_FIZIKSEL_ORTAM)
_ADDRESSES = 0.3
_SUBSECOND = 0.5
_CHANGED = 0.15
_RETS = 0.2
_UUID_BITS = 128


def sample_consents(count: int, *, rng: Random) -> Iterator[Consent]:
    """Yield ``count`` consents, each of another key.

    Three in ten are e-mail addresses; half of the dates are not whole seconds; one in seven was
    changed before.
    """
    for number in range(count):
        by_mail = rng.random() < _ADDRESSES
        recipient = f"name.surname{number:07d}@example.com" if by_mail else f"+90500{number:07d}"
        effective_at = _BEGAN + timedelta(seconds=rng.randrange(_SECONDS))
        subsecond = timedelta(milliseconds=rng.randrange(1000) if rng.random() < _SUBSECOND else 0)
        before = effective_at - timedelta(days=30) if rng.random() < _CHANGED else None
        is_ret = rng.random() < _RETS
        yield Consent(
            key=ConsentKey(
                brand_code=rng.choice(_BRANDS),
                channel=Channel.EPOSTA if by_mail else Channel.MESAJ,
                recipient_type=RecipientType.BIREYSEL,
                recipient=recipient,
            ),
            customer_id="customer-7",
            status=Status.RET if is_ret else Status.ONAY,
            effective_at=effective_at,
            origin_rank=OriginRank.OURS,
            event_id=str(UUID(int=rng.getrandbits(_UUID_BITS))),
            origin=rng.choice(_ORIGINS),
            source=rng.choice(_SOURCES),
            consent_date=effective_at + subsecond,
            registrable=True,
            latest_onay_at=before if is_ret else effective_at,
            latest_ret_at=effective_at if is_ret else before,
        )
