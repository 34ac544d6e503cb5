"""Decisions as the topic and the history have them, decided again by the law."""

from collections.abc import Iterable, Mapping
from typing import Any

from izin.consent.model import AdmittedEvent, Consent, Status
from izin.consent.ordering import decide
from izin.consent.violations import Violation
from izin.schemas.erasure import ERASED
from izin.schemas.records import event_from_avro, key_from_avro

AvroDecision = Mapping[str, Any]
"""A decoded Avro Decision."""


def is_erasure(decision: AvroDecision) -> bool:
    """Whether it was made on an erasure of its key."""
    return bool(decision["kind"] == ERASED)


def admitted_of(decision: AvroDecision) -> AdmittedEvent:
    """Return the event that was decided, as it was admitted."""
    return AdmittedEvent(
        key=key_from_avro(decision["consent"]),
        status=Status(decision["event"]["status"]),
        effective_at=decision["effective_at"],
        event=event_from_avro(decision["event"]),
        violations=tuple(Violation(**one) for one in decision["violations"]),
    )


def decided_again(decisions: Iterable[AvroDecision]) -> Consent | None:
    """Return the consent of a key after ``decisions`` on all of its events, in their order; None
    where it is erased.

    A repetition changes nothing: each event counts where it was decided first.
    """
    current: Consent | None = None
    seen: set[tuple[str, int, int]] = set()
    for one in decisions:
        place = one["topic"], one["partition"], one["offset"]
        if place in seen:
            continue
        seen.add(place)
        if not is_erasure(one):
            current = decide(current, admitted_of(one)).consent
        elif current is not None and current.effective_at <= one["effective_at"]:
            current = None
    return current
