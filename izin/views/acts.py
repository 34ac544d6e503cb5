"""What people did, and whom they looked at: the acts in the history, the newest first.

Recipients are masked: an act on a person's key says that it was one, and on which brand. Whoever
needs to know of one person looks at that person, which is an entry here in turn.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

from izin.ledger.db import Ledger, statements
from izin.runtime.masking import masked
from izin.views.explanation import Explanation
from izin.views.words import ENGLISH, Words, is_consent

PAGE: Final = 50
_SHARDS, _ALL = 2**15, 2**63
_SQL = statements("acts")


class ActKind(StrEnum):
    """What is listed."""

    EVERY = "every"
    CHANGES = "changes"
    LOOKS = "looks"


_LOOKS: Mapping[ActKind, Sequence[bool]] = {
    ActKind.EVERY: (False, True),
    ActKind.CHANGES: (False,),
    ActKind.LOOKS: (True,),
}


class ActPosition(NamedTuple):
    """Where an act stands in the history."""

    recorded_at: datetime
    shard: int
    place: int

    def __str__(self) -> str:
        return f"{self.recorded_at.isoformat()}/{self.shard}/{self.place}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Return a position from its text; raises ValueError."""
        at, shard, place = text.split("/")
        found = cls(datetime.fromisoformat(at), int(shard), int(place))
        if not (
            found.recorded_at.tzinfo and 0 <= found.shard < _SHARDS and 0 <= found.place < _ALL
        ):
            raise ValueError(text)
        return found


NEWEST: Final = ActPosition(datetime.max.replace(tzinfo=UTC), 0, 0)
"""Before it is everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAct:
    """What a person did, or looked at."""

    position: ActPosition
    customer_id: str
    key: str
    """What it concerns; a recipient in it is masked."""
    data: Mapping[str, Any]
    """``act``, ``by``, ``before`` and ``after``, masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActSelection:
    """Whose acts are listed, and which."""

    customer: str | None = None
    """None: of all."""
    by: str | None = None
    """The actor; None: everybody."""
    kind: ActKind = ActKind.EVERY


async def page(
    ledger: Ledger, selected: ActSelection, *, before: ActPosition = NEWEST, size: int = PAGE
) -> tuple[RecordedAct, ...]:
    """Return the newest acts before a position, ``size`` at most."""
    name = "of-all" if selected.customer is None else "of-customer"
    values = {
        "looks": list(_LOOKS[selected.kind]),
        "customer_id": selected.customer,
        "by": selected.by,
        "at": before.recorded_at,
        "shard": before.shard,
        "place": before.place,
        "size": size,
    }
    rows = await ledger.fetch(_SQL[name if selected.by is None else "of-actor"], values)
    return tuple(map(_act, rows))


def _act(row: Mapping[str, Any]) -> RecordedAct:
    key, data = row["key"], row["data"]
    changed = {
        when: {name: masked("", value) for name, value in data[when].items()}
        for when in ("before", "after")
    }
    return RecordedAct(
        position=ActPosition(row["recorded_at"], row["shard"], row["place"]),
        customer_id=row["customer_id"],
        key=str(masked("key", key)) if is_consent(key) else key,
        data=data | changed,
    )


async def since(
    ledger: Ledger, selected: ActSelection, *, begin: datetime
) -> AsyncIterator[RecordedAct]:
    """Yield the acts from an instant on, the newest first."""
    before = NEWEST
    while found := await page(ledger, selected, before=before, size=1000):
        for one in found:
            if one.position.recorded_at < begin:
                return
            yield one
        before = found[-1].position


def in_words(found: Sequence[RecordedAct], words: Words = ENGLISH) -> list[tuple[str, ...]]:
    """Return acts in words: when, who, what, on what, of which customer, and what it changed."""
    said = Explanation(words)
    return [
        (
            words.when(one.position.recorded_at),
            one.data["by"],
            said.act_name(one.data["act"]),
            said.concerned(one.key),
            one.customer_id,
            "; ".join(said.changes(one.data)),
        )
        for one in found
    ]
