"""What the doctor finds of what is not read, at İYS or in a topic, and of dead letters: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from izin.console.doctor.ledger_checks import Finding, State
from izin.console.terminal.output import turkish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from izin.console.doctor.consumer_lag import Unread
    from izin.sinks.ledger.stream_progress import Heard

USUAL = timedelta(minutes=5)
"""A record may wait so long while all is well: a worker restarts, a batch is large."""

LETTERS_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A worker that reads topics, as the doctor speaks of it."""

    check: str
    records: str
    """What it reads, in the plural."""
    compared: str
    """Which two places are compared."""
    cure: str


SINK = Reader(
    check="sink",
    records="decisions",
    compared="the ledger's offsets with the end of consent-decisions",
    cure="is a sink worker running (izin sink), and what does its log say?",
)
ORDER = Reader(
    check="order",
    records="events",
    compared="the order group's offsets with the ends of both lanes",
    cure="is an order worker running (izin stream), and what does its log say?",
)


def of_unread(reader: Reader, lanes: Sequence[Unread], *, now: datetime) -> Finding:
    """Return whether ``reader`` reads: what waits longer than is usual says that it does not."""
    count = sum(one.records for one in lanes)
    oldest_at = min((one.oldest_at for one in lanes if one.oldest_at), default=None)
    if oldest_at is None:
        what = f"no {reader.records} wait to be read"
        return Finding(check=reader.check, state=State.OK, what=what)
    waits = max(now - oldest_at, timedelta())
    told = (
        f"about {count} {reader.records} are not read, the oldest of {turkish(oldest_at)}, "
        f"{waits // timedelta(minutes=1)} minutes ago (compared: {reader.compared}; "
        f"up to {USUAL // timedelta(minutes=1)} minutes are usual)"
    )
    if waits <= USUAL:
        return Finding(check=reader.check, state=State.OK, what=told)
    return Finding(check=reader.check, state=State.WRONG, what=f"{told}; {reader.cure}")


def of_heard(heard: Sequence[Heard], *, now: datetime) -> Finding:
    """Return whether İYS's streams are read: a citizen's "no" waits in one that is not."""
    silent = [one for one in heard if one.is_silent(now)]
    if not silent:
        what = f"{len(heard)} streams of İYS's are read" if heard else "no stream was read yet"
        return Finding(check="pull", state=State.OK if heard else State.SKIPPED, what=what)
    named = ", ".join(
        f"{one.stream} of {one.brand_code} since {turkish(one.heard_at)}" for one in silent
    )
    what = (
        f"not read to their end: {named}; a citizen's no may wait there; does a sink worker of the "
        "brand's account and address run, and what does its log say of 'pull failed'?"
    )
    return Finding(check="pull", state=State.WRONG, what=what)


def of_dead_letters(count: int) -> Finding:
    """Return how many records became no decision of late, and how to see which."""
    if not count:
        what = "none in the last 24 hours"
        return Finding(check="dead-letters", state=State.OK, what=what)
    what = (
        f"{count} in the last 24 hours: records that became no decision; "
        "see where each stood and what is wrong with it: izin dead-letters"
    )
    return Finding(check="dead-letters", state=State.WRONG, what=what)
