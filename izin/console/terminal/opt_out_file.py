"""Opt-outs that İYS does not have, as a person withdraws the consents on İYS's own pages."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from izin.consent.due_dates import TURKEY
from izin.sinks.ledger.deadlines import OpenOptOut

HEADER = ("recipient", "type", "recipientType", "status", "source", "consentDate", "due", "state")


def opt_out_rows(found: Iterable[OpenOptOut]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each, under ``HEADER``; times are Turkish."""
    for one in found:
        yield (
            one.recipient,
            one.channel,
            one.recipient_type,
            "RET",
            one.desired_source or "",
            _as_iys_writes(one.desired_at),
            "" if one.due_at is None else _as_iys_writes(one.due_at),
            one.reason or one.state,
        )


def _as_iys_writes(at: datetime) -> str:
    return at.astimezone(TURKEY).strftime("%Y-%m-%d %H:%M:%S")
