"""What became of dead letters, which themselves are in Kafka: acts of the history.

A person acknowledges one, redrives it, or publishes a correction of it. A redriven letter has two
acts: where it was written again, and what was made of it, which acknowledges it. Between the two a
command may have ended; the next one finds the first act and does not write the record again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.history import act, append

_ACKNOWLEDGE = "acknowledge dead letter"
_REDRIVE = "redrive dead letter"
_SETTLE = "settle redriven dead letter"
_CORRECT = "correct dead letter"
_PAGE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterKey:
    """A dead letter: where it is, and a digest of what it holds.

    A topic that was created again has other letters in the same places.
    """

    topic: str
    partition: int
    offset: int
    digest: str

    @property
    def key(self) -> str:
        """The key of its acts."""
        return f"dead-letter/{self.topic}/{self.partition}/{self.offset}/{self.digest}"

    @property
    def name(self) -> str:
        """The letter as commands name it: ``partition/offset``."""
        return f"{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Who has acknowledged a dead letter, when, and why."""

    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """A dead letter that was written again."""

    to: str
    """The record that it became: ``topic/partition/offset``."""
    expected: str
    """What the law made of it beforehand."""
    decisions_from: int
    """Where the partition of decisions ended before; what was decided of it comes later."""
    by: str
    at: datetime
    reason: str
    result: str | None = None
    """What the order stage made of it; None: not known yet."""
    detail: str = ""
    """What else there is to say: the new dead letter, or the event that was newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterStatus:
    """What became of a dead letter."""

    acknowledgement: Acknowledgement | None = None
    redriven: tuple[Redrive, ...] = ()
    """Each time, the latest last."""
    corrected_by: str | None = None
    """The id of the event that corrects it."""

    @property
    def unsettled(self) -> Redrive | None:
        """The redrive whose result is not known yet."""
        return self.redriven[-1] if self.redriven and self.redriven[-1].result is None else None


UNTOUCHED = LetterStatus()
"""Of a letter about which nobody has done anything."""


async def statuses(
    ledger: Ledger, letters: Iterable[LetterKey]
) -> Mapping[LetterKey, LetterStatus]:
    """Return what became of those of ``letters`` about which anything was done."""
    by_key = {one.key: one for one in letters}
    keys, found = list(by_key), dict[LetterKey, LetterStatus]()
    for start in range(0, len(keys), _PAGE):
        for fact in await reads.facts(ledger, keys[start : start + _PAGE]):
            letter = by_key[fact.key]
            found[letter] = _after(found.get(letter, UNTOUCHED), fact.data, fact.occurred_at)
    return found


async def acknowledge(
    ledger: Ledger, letters: Iterable[LetterKey], *, by: str, reason: str, now: datetime
) -> None:
    """Write to the history that ``letters`` need no more attention."""
    await _write(
        ledger,
        [
            act(
                _ACKNOWLEDGE,
                letter.key,
                by=by,
                now=now,
                before={"acknowledged": False},
                after={"acknowledged": True, "reason": reason},
            )
            for letter in letters
        ],
        now,
    )


async def redriven(ledger: Ledger, sent: Mapping[LetterKey, Redrive], *, now: datetime) -> None:
    """Write to the history that letters were written again, and where."""
    acts = [
        act(
            _REDRIVE,
            letter.key,
            by=one.by,
            now=now,
            before={"redriven": None},
            after={
                "redriven": one.to,
                "expected": one.expected,
                "decisions_from": one.decisions_from,
                "reason": one.reason,
            },
        )
        for letter, one in sent.items()
    ]
    await _write(ledger, acts, now)


async def settle(
    ledger: Ledger, results: Mapping[LetterKey, Redrive], *, by: str, reason: str, now: datetime
) -> None:
    """Write to the history what was made of redriven letters, which acknowledges them."""
    acts = [
        act(
            _SETTLE,
            letter.key,
            by=by,
            now=now,
            before={"acknowledged": False},
            after={
                "acknowledged": True,
                "reason": reason,
                "redriven": one.to,
                "result": one.result,
                **({"detail": one.detail} if one.detail else {}),
            },
        )
        for letter, one in results.items()
    ]
    await _write(ledger, acts, now)


async def correct(  # noqa: PLR0913  # which letter, by what, of whom, and who did it
    ledger: Ledger,
    letter: LetterKey,
    *,
    event_id: str,
    key: str,
    customer_id: str,
    status: str,
    by: str,
    reason: str,
    now: datetime,
) -> None:
    """Write to the history that an event corrects ``letter``, which acknowledges it: to the acts of
    the letter, and to those of the consent ``key`` that the event concerns.
    """
    of_letter = act(
        _CORRECT,
        letter.key,
        by=by,
        now=now,
        before={"acknowledged": False},
        after={"acknowledged": True, "reason": reason, "corrected_by": event_id},
    )
    of_consent = act(
        _CORRECT,
        key,
        by=by,
        now=now,
        before={"dead_letter": None},
        after={"dead_letter": f"{letter.topic} {letter.name}", "reason": reason},
        customer_id=customer_id,
        event_id=event_id,
        status=status,
    )
    await _write(ledger, [of_letter, of_consent], now)


async def _write(ledger: Ledger, acts: Sequence[append.HistoryEntry], now: datetime) -> None:
    async with ledger.transaction() as connection:
        await append.append(connection, acts, now=now)


def _after(status: LetterStatus, data: Mapping[str, Any], at: datetime) -> LetterStatus:
    """Return ``status`` after the act that ``data`` describes."""
    by, after = data["by"], data["after"]
    reason = after.get("reason", "")
    if data["act"] == _REDRIVE:
        again = Redrive(
            to=after["redriven"],
            expected=after["expected"],
            decisions_from=after["decisions_from"],
            by=by,
            at=at,
            reason=reason,
        )
        return replace(status, redriven=(*status.redriven, again))
    if data["act"] == _SETTLE:
        status = replace(
            status,
            redriven=tuple(
                replace(one, result=after["result"]) if one.to == after["redriven"] else one
                for one in status.redriven
            ),
        )
    if data["act"] == _CORRECT:
        status = replace(status, corrected_by=after["corrected_by"])
    return replace(status, acknowledgement=Acknowledgement(by=by, at=at, reason=reason))
