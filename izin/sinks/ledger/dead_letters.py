"""Which dead letters, themselves in Kafka, a person has acknowledged: acts of the history."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.acts import act

_ACT = "acknowledge dead letter"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Who has acknowledged a dead letter, when, and why."""

    by: str
    at: datetime
    reason: str


async def acknowledged(
    ledger: Ledger, letters: Collection[LetterKey]
) -> Mapping[LetterKey, Acknowledgement]:
    """Return the acknowledgements of those of ``letters`` that have one."""
    by_key = {one.key: one for one in letters}
    return {
        by_key[fact.key]: Acknowledgement(
            by=fact.data["by"], at=fact.occurred_at, reason=fact.data["after"]["reason"]
        )
        for fact in await reads.facts(ledger, list(by_key))
    }


async def acknowledge(
    ledger: Ledger, letters: Collection[LetterKey], *, by: str, reason: str, now: datetime
) -> None:
    """Write to the history that ``letters`` need no more attention."""
    acts = [
        act(
            _ACT,
            one.key,
            by=by,
            now=now,
            before={"acknowledged": False},
            after={"acknowledged": True, "reason": reason},
        )
        for one in letters
    ]
    async with ledger.transaction() as connection:
        await append.append(connection, acts, now=now)
