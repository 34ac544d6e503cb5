"""A correction: a new event in place of a dead letter, which it names as its cause.

What is not given is taken from the letter, as far as it can be read, but for what would make a
consent of what was none: the date of an ONAY (opt-in) is given, or is that of an ONAY that was not
refused for its date; it never counts from now. An opt-out (RET) without a date counts from when we
first received it. A letter has one correction, whose id is made of where the letter is alone: so it
may be repeated, and nobody is to be guessed from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from izin.consent import ConsentEvent, SourceError, Status
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import EventOrigin, MappedRecord
from izin.producers.publishing.event_ids import message_event_id
from izin.replay.dead_letters.reading import Content, Letter
from izin.schemas import words
from izin.streams.guard import appended_at

ORIGIN = "correction"
"""The origin of events that correct a dead letter."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The letter that is corrected, and what can be read of it."""

    letter: Letter
    content: Content | None

    @property
    def cause(self) -> str:
        """The id of the letter's event; where it has none, one of the letter's own."""
        known = "" if self.content is None else self.content.event.event_id
        return known or message_event_id("dead-letter", self.letter.identity.key, "")

    def fields(self, given: Mapping[Field, str]) -> dict[Field, str]:
        """Return the fields of the correction: those ``given``, else the letter's."""
        known = {} if self.content is None else _fields(self.content.event)
        return known | {name: text for name, text in given.items() if text}

    def dated(self, parsed: MappedRecord, now: datetime) -> tuple[MappedRecord, EventOrigin]:
        """Return the correction ``parsed`` at ``now`` with its date, and where it comes from.

        Raises:
            SourceError: an ONAY has none.
        """
        event = None if self.content is None else self.content.event
        is_same = event is None or words.status_of(event.status) == parsed.status
        # A date that was given and cannot be read is reported as such.
        is_unread = any(violation.field == Field.CONSENT_DATE for violation in parsed.violations)
        if parsed.consent_date is None and not is_unread:
            basis = parsed.date_basis if event is None else event.date_basis
            parsed = replace(
                parsed, consent_date=self._date() if is_same else None, date_basis=basis
            )
            if parsed.consent_date is None and parsed.status == Status.ONAY:
                raise SourceError(
                    f"--date: an ONAY needs its own date, and dead letter {self.letter.name} has "
                    "none that can be taken for it; say when the recipient consented"
                )
        counts_from_then = parsed.status == Status.RET and is_same
        origin = EventOrigin(
            event_id=message_event_id(ORIGIN, self.letter.identity.key, ""),
            origin=ORIGIN,
            received_at=appended_at(self.letter) if counts_from_then else now,
            cause=self.cause,
            evidence={} if event is None else event.evidence,
            is_live=not is_same,
        )
        return parsed, origin

    def _date(self) -> datetime | None:
        """Return the date of the letter's event, where nothing is wrong with it: it was not refused
        for it, nor is it ahead of its first append.
        """
        date = None if self.content is None else self.content.event.consent_date
        is_refused = any(
            violation.field == Field.CONSENT_DATE for violation in self.letter.violations
        )
        return None if is_refused or date is None or date > appended_at(self.letter) else date


def _fields(event: ConsentEvent) -> dict[Field, str]:
    """Return the fields of ``event`` but its date, as texts; empty ones are missing."""
    found = {
        Field.BRAND_CODE: str(event.brand_code),
        Field.TYPE: event.type,
        Field.RECIPIENT: event.recipient,
        Field.STATUS: event.status,
        Field.SOURCE: event.source,
        Field.RECIPIENT_TYPE: event.recipient_type,
        Field.ORIGIN_REF: event.origin_ref,
        Field.ACTOR: event.actor,
        Field.CORRELATION_ID: event.correlation_id,
        Field.RETAILER_CODE: None if event.retailer_code is None else str(event.retailer_code),
        Field.RETAILER_ACCESS: " ".join(map(str, event.retailer_access or ())),
        Field.NOTICE_VERSION: event.notice_version,
        Field.EVIDENCE_HASH: event.evidence_hash,
    }
    return {name: text for name, text in found.items() if text}
