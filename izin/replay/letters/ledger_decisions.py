"""Decisions that the ledger could not take, and takes when they are written again.

Whether it did is in its history, where every decision has its source. Erasures have none there: the
ledger has passed them, and what it cannot take of them is a dead letter again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from izin.replay.letters.orders import RedriveOrder
from izin.replay.letters.outcomes import Outcome
from izin.replay.letters.preview import Prediction
from izin.replay.letters.results import Results, SentLetter
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import ERASURE
from izin.schemas.records import key_text
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.dead_letters import RedriveResult
from izin.sinks.ledger.history.formats import source_of

_PAGE = 5000
_UNREADABLE = Prediction(Outcome.REFUSED, ("IZIN-UNREADABLE-DECISION",))


@dataclass(frozen=True, slots=True)
class _Decision:
    """A decision as the history names it."""

    key: str
    source: str
    is_erasure: bool


async def predict(ledger: Ledger, codec: Codec, orders: Sequence[RedriveOrder]) -> list[Prediction]:
    """Return what the ledger would make of the decisions of ``orders``.

    Whether PostgreSQL still refuses a value shows only when it is stored.
    """
    read = [_decision(codec, one.record.value) for one in orders]
    known = await _known(ledger, read)
    return [
        _UNREADABLE
        if one is None
        else Prediction(Outcome.KNOWN if one.source in known else Outcome.RECORDED)
        for one in read
    ]


async def taken(
    ledger: Ledger, codec: Codec, results: Results, sent: Sequence[SentLetter]
) -> list[RedriveResult]:
    """Return what the ledger made of ``sent``, all of which it has passed; raises BrokerError."""
    values = await asyncio.to_thread(results.values_at, sent)
    read = [_decision(codec, values.get(one.place, b"")) for one in sent]
    known = await _known(ledger, read)
    found = []
    for one, decision in zip(sent, read, strict=True):
        outcome = Outcome.REFUSED
        if decision is not None and (decision.is_erasure or decision.source in known):
            outcome = Outcome.KNOWN if one.expected is Outcome.KNOWN else Outcome.RECORDED
        found.append(RedriveResult(letter=one.letter, to=one.redrive.to, result=outcome))
    return found


async def _known(ledger: Ledger, decisions: Sequence[_Decision | None]) -> set[str]:
    """Return the sources of what the history has of the keys of ``decisions``."""
    keys = sorted({one.key for one in decisions if one is not None})
    known: set[str] = set()
    for start in range(0, len(keys), _PAGE):
        known |= {one.source for one in await reads.facts(ledger, keys[start : start + _PAGE])}
    return known


def _decision(codec: Codec, value: bytes) -> _Decision | None:
    try:
        found = DecisionReader(codec).decode(value)
    except UndecodableError:
        return None
    is_erasure = found["event"]["status"] == ERASURE
    return _Decision(key_text(found["consent"]), source_of(found), is_erasure)
