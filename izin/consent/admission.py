"""Admission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from izin.consent.model import Claim, ConsentEvent, ConsentKey, Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An event that is not admitted: at least one violation, and its key where that can be read."""

    event: ConsentEvent
    violations: tuple[Violation, ...]
    key: ConsentKey | None


def admit(event: ConsentEvent, *, appended_at: datetime) -> Claim | Refusal:
    """Return the claim that ``event`` makes, or why it makes none.

    ``appended_at`` is the broker's append time; it stands in for ``received_at`` where the event
    has none.
    """
    raise NotImplementedError(event.event_id, appended_at)
