"""The settings of a what-if: those in force, and those that its options make of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import NamedTuple, Self, TypeVar

import typer

from izin.consent.business_days import Calendar
from izin.consent.due_dates import BrandTerms
from izin.consent.errors import SourceError
from izin.console.terminal.arguments import instant
from izin.replay.what_if.settings import LawSettings, differing
from izin.runtime.settings import GateSettings
from izin.sinks.record.brand import Brand

NONE = "none"


class BrandInstant(NamedTuple):
    """An instant of a brand, as an option names it."""

    brand_code: int
    at: datetime | None
    """None: it has none."""


T = TypeVar("T")
Pair = tuple[Iterable[T] | None, Iterable[T] | None]
"""What two options were given."""


def _given(values: Iterable[T] | None) -> frozenset[T]:
    return frozenset(values or ())


def brand_instant(text: str) -> BrandInstant:
    """Return the brand and the instant of BRAND=INSTANT; anything else is wrong usage."""
    brand, _, at = text.partition("=")
    if not brand.isdecimal() or not at:
        raise typer.BadParameter(f"{text} is not BRAND=INSTANT, as in 100001=2026-05-01T00:00")
    return BrandInstant(int(brand), None if at == NONE else instant(at))


@dataclass(frozen=True, slots=True, kw_only=True)
class VariedSettings:
    """What the options vary."""

    closed: frozenset[date]
    opened: frozenset[date]
    activated: Mapping[int, datetime | None]
    loading: Mapping[int, datetime | None]
    apart: frozenset[str]
    joined: frozenset[str]
    free: frozenset[str]
    bound: frozenset[str]

    @classmethod
    def of(
        cls,
        *,
        days: Pair[date],
        terms: Pair[BrandInstant],
        apart: Pair[str],
        free: Pair[str],
    ) -> Self:
        """Return what pairs of options say: what is set, and what is taken back; for brands the
        activation, and the end of the first loading.
        """
        closed, opened = map(_given, days)
        activated, loading = (dict(one or ()) for one in terms)
        now_apart, joined = map(_given, apart)
        now_free, bound = map(_given, free)
        return cls(
            closed=closed,
            opened=opened,
            activated=activated,
            loading=loading,
            apart=now_apart,
            joined=joined,
            free=now_free,
            bound=bound,
        )

    def settings(
        self, brands: Sequence[Brand], calendar: Calendar
    ) -> tuple[LawSettings, LawSettings]:
        """Return the settings in force, by the environment and the ledger, and the varied ones.

        Raises:
            SourceError: a brand is not registered, a day is not one of the further closed days, or
                nothing differs.
            OutsideCalendarError: a day is beyond the calendar.
        """
        gate = GateSettings()
        before = LawSettings(
            closed_days=calendar.extra_closed_days,
            terms={one.brand_code: one.clock for one in brands},
            merchants_apart=frozenset(gate.merchants_apart),
            unregistered_merchants=frozenset(gate.unregistered_merchants),
        )
        fixed = sorted(self.opened - before.closed_days)
        if fixed:
            raise SourceError(
                f"{fixed[0]} is no day of IZIN_EXTRA_CLOSED_DAYS; weekends and public holidays "
                "are fixed by law. Set the variable to what was in force"
            )
        after = LawSettings(
            closed_days=(before.closed_days | self.closed) - self.opened,
            terms=self._terms(before.terms),
            merchants_apart=(before.merchants_apart | self.apart) - self.joined,
            unregistered_merchants=(before.unregistered_merchants | self.free) - self.bound,
        )
        if not differing(before, after):
            raise SourceError(
                "nothing differs from the settings in force: vary one, as with --closed-day"
            )
        # Its days are checked here, not in the midst of the work.
        _ = after.calendar
        return before, after

    def _terms(self, known: Mapping[int, BrandTerms]) -> Mapping[int, BrandTerms]:
        terms = dict(known)
        for code in _registered({*self.activated, *self.loading}, known):
            if code in self.activated:
                terms[code] = replace(terms[code], activated_at=self.activated[code])
            if code in self.loading:
                terms[code] = replace(terms[code], loading_deadline=self.loading[code])
        return terms


def _registered(codes: Iterable[int], known: Mapping[int, BrandTerms]) -> list[int]:
    for code in sorted(codes):
        if code not in known:
            raise SourceError(f"brand {code} is not registered; see: izin brands list")
    return sorted(codes)
