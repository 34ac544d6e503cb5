"""What İYS shows of known keys, by templates.

A movement that is at least as new as what is known of İYS replaces it. What is due then follows
from the row's shape and from the order of a few instants. Older movements, and those of rows in
flight, take the general path.
"""

from datetime import datetime
from typing import Final, LiteralString, NamedTuple

from izin.consent.admission import SKEW
from izin.consent.business_days import Calendar
from izin.consent.enums import STATUSES
from izin.consent.fold import Observation, is_of_citizens
from izin.consent.model import ConsentKey, OriginRank
from izin.consent.next_action import Registered
from izin.consent.transitions import OPEN
from izin.sinks.ingest.bulk_rows import TermColumns
from izin.sinks.ingest.known_keys.templates import Change, KnownRow, order_of_opt_out
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.append import Movement
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import OWN_OF_OBSERVED, SHARED_BY_OBSERVED
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.ruling import RuledRow

_SQL = statements("consents")
_BULK = frozenset({Registered.ONAY, Registered.RET})
_NO_TERMS: Final = copy_format.NULL * 2


class ObservedMovement(NamedTuple):
    """A movement at İYS, read."""

    key: ConsentKey
    observation: Observation | None
    """What it shows; None: it permits nothing, and is only recorded."""
    movement: Movement
    """Its record in the history."""
    is_ours: bool
    """Whether a submission of ours made it. It brings no key back that was erased since."""


class SeenMovement(NamedTuple):
    """What a movement shows, whatever its row is. Instants are microseconds since 2000."""

    movement: ObservedMovement
    key: str
    is_usual: bool
    """Whether templates may observe it: İYS itself shows an opt-in or opt-out, dated."""
    value: str
    created: int
    consent_date: int | None
    stated_at: int | None
    """When the recipient acted (``RegisteredState.stated_at``)."""
    columns: bytes
    """Its columns in COPY format."""
    shared: tuple[object, ...]
    """What it shares with others."""


class SeenRow(NamedTuple):
    """A movement that replaces what is known of İYS."""

    seen: SeenMovement
    terms: bytes
    """The columns of the terms of the row."""


def seen_movement(movement: ObservedMovement) -> SeenMovement:
    """Return what ``movement`` shows."""
    key, seen = movement.key, movement.observation
    if (
        seen is None
        or seen.value not in _BULK
        or seen.transaction_id is None
        or seen.is_answer
        or seen.verified_at is None
        or seen.creation_date - seen.verified_at > SKEW
    ):
        return SeenMovement(movement, str(key), False, "", 0, None, None, b"", ())
    created = _instant(seen.creation_date)
    consent_date = None if seen.consent_date is None else _instant(seen.consent_date)
    stated_at = created if is_of_citizens(seen.source) else consent_date
    columns = b"".join(
        (
            copy_format.stored_instant(created),
            copy_format.stored_instant(consent_date),
            copy_format.word(seen.transaction_id),
            copy_format.moment(seen.verified_at),
        )
    )
    shared = (
        key.channel,
        key.recipient_type,
        seen.value,
        seen.source,
        seen.verified_by,
        consent_date is None,
    )
    return SeenMovement(
        movement, str(key), True, str(seen.value), created, consent_date, stated_at, columns, shared
    )


class Observations:
    """The kind of change that observations of a brand's keys are, at one instant."""

    own = OWN_OF_OBSERVED
    shared = SHARED_BY_OBSERVED
    statements: tuple[LiteralString, LiteralString, LiteralString] = (
        _SQL["stage-observed"],
        _SQL["copy-observed"],
        _SQL["save-observed"],
    )

    def __init__(self, brand: Brand, *, now: datetime, calendar: Calendar) -> None:
        self.brand = brand
        self._now = now
        self._now_there = _instant(now)
        self._calendar = calendar
        self._terms = TermColumns(now=now, calendar=calendar)

    def likened(
        self, seen: SeenMovement, row: KnownRow
    ) -> tuple[tuple[object, ...], SeenRow] | None:
        """Return the template key of what is ``seen`` of a row, and what it makes of it; None where
        the general path must observe it.
        """
        created, known_at, desired_at = seen.created, row.registered_at, row.desired_at
        if not seen.is_usual or row.is_unusual or row.state in OPEN:
            return None
        if known_at is not None and (
            created < known_at or (created == known_at and row.registered != seen.value)
        ):
            return None
        if desired_at is not None and desired_at > self._now_there:
            return None
        terms, has_ended = self._terms_of(row)
        stated_at = seen.stated_at
        template_key = (
            seen.shared,
            row.shape,
            has_ended,
            row.since is None,
            order_of_opt_out(stated_at, row.latest_ret),
            desired_at is not None and stated_at is not None and stated_at >= desired_at,
            desired_at is not None and created > desired_at,
            _counts_from(known_at, row.consent_date) == _counts_from(created, seen.consent_date),
        )
        return template_key, SeenRow(seen, terms)

    def change(self, row: KnownRow, member: SeenRow) -> Change:
        """Return what is the row's own in what the movement makes of it."""
        seen = member.seen
        return Change(
            row,
            seen.columns + member.terms,
            row.event_id or "",
            row.origin_ref,
            row.attempts,
            seen.created,
            seen.consent_date,
        )

    def ruled(self, before: ConsentRow, member: SeenRow) -> RuledRow:
        """Return what the movement makes of a row, by the general path."""
        return self.observed(before, member.seen.movement)

    def observed(self, before: ConsentRow, movement: ObservedMovement) -> RuledRow:
        """Return the same for any movement; one that shows nothing has the row ruled again."""
        seen = movement.observation
        after = before if seen is None else apply.observed(before, seen)
        return ruling.rule_row(
            after, self.brand, self._now, calendar=self._calendar, observing=True
        )

    def _terms_of(self, row: KnownRow) -> tuple[bytes, bool]:
        """Return the columns of the terms of a row, and whether the last has ended."""
        if row.desired_at is None or row.desired_status is None:
            return _NO_TERMS, False
        if row.desired_rank != OriginRank.OURS:
            return _NO_TERMS, False
        at = row.desired_at + copy_format.EPOCH
        return self._terms.at(self.brand, STATUSES[row.desired_status], at)


def _counts_from(*instants: int | None) -> int | None:
    """Return the earlier of the instants of a consent; if it moves, a permission is published."""
    return min((one for one in instants if one is not None), default=None)


def _instant(at: datetime) -> int:
    """Return an instant in microseconds since 2000."""
    return copy_format.microseconds(at) - copy_format.EPOCH
