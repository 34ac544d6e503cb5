"""Check the result of the days: İYS's movements, compared with ledger and law."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from iys_simulator.state import SimulatorState
from iys_simulator.store.movements import Movement

from izin.consent import TURKEY_CALENDAR, BrandTerms, Consent, due_at
from izin.iys.wire_format import from_turkish
from izin.ledger.db import Ledger
from tests.chaos.agreement import differences
from tests.chaos.days.virtual_site import HOUR

HOLIDAY = datetime(2026, 10, 28, 10, 0, tzinfo=UTC)
"""From 13:00 on Wednesday, the eve of the Republic's day."""
_CLOCK = BrandTerms(activated_at=datetime(2020, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTerms:
    """The observance of terms by the movements that İYS saved."""

    late: tuple[str, ...]
    tightest: timedelta
    """The least that was left of one."""
    over_the_holiday: int
    """How many the half day and the holiday lengthened."""


def movements(simulator: SimulatorState, brands: Iterable[int]) -> Iterator[Movement]:
    """Yield the movements that İYS saved, brand by brand, in order."""
    for code in brands:
        yield from simulator.register_of(code).movements()


def saved_terms(saved: Iterable[Movement]) -> SavedTerms:
    """Return the observance of terms by ``saved``, each computed from its consent date."""
    late, tightest, over = [], timedelta(days=9), 0
    for one in saved:
        stated, created = from_turkish(one.consent_date), from_turkish(one.creation_date)
        due = due_at(stated, _CLOCK, now=created, calendar=TURKEY_CALENDAR)
        left = due - created
        tightest = min(tightest, left)
        over += stated < HOLIDAY < due
        if left < timedelta(0):
            late.append(f"{one.status} of {one.consent_date} was saved at {one.creation_date}")
    return SavedTerms(late=tuple(late), tightest=tightest, over_the_holiday=over)


def repeated(saved: Iterable[Movement]) -> list[str]:
    """Return each movement that was saved twice, or after a later one of its key."""
    found, last = [], dict[tuple[str, str], str]()
    for one in saved:
        key = (one.type, one.recipient)
        if one.consent_date <= last.get(key, ""):
            found.append(f"{one.status} of {one.consent_date} saved after one of {last[key]}")
        last[key] = one.consent_date
    return found


def most_an_hour(instants: Sequence[float]) -> int:
    """Return how many of these instants (seconds, in order) are within any one hour."""
    return max((sum(at <= one < at + HOUR for one in instants) for at in instants), default=0)


async def unexplained(
    ledger: Ledger, simulator: SimulatorState, brands: Iterable[int], states: Mapping[str, Consent]
) -> list[str]:
    """Return where decisions, the ledger and İYS's register differ on a key."""
    register = {
        f"{code}/{one.type}/{one.recipient_type}/{one.recipient}": one.status
        for code in brands
        for one, _ in simulator.register_of(code).records()
    }
    rows = await ledger.fetch("SELECT key, may_send FROM consents")
    permitted = {row["key"]: row["may_send"] for row in rows}
    return await differences(ledger, states, register, permitted)
