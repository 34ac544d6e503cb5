"""Decisions that the ledger could not take, and takes when they are written again."""

from collections.abc import Sequence

from izin.replay.letters.orders import RedriveOrder
from izin.replay.letters.outcomes import Outcome
from izin.replay.letters.preview import Prediction
from izin.replay.letters.results import Results, SentLetter
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.records import key_text
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.dead_letters import RedriveResult
from izin.sinks.ledger.history.formats import source_of

_PAGE = 5000


async def predict(ledger: Ledger, codec: Codec, orders: Sequence[RedriveOrder]) -> list[Prediction]:
    """Return what the ledger would make of the decisions of ``orders``.

    Whether PostgreSQL still refuses a value shows only when it is stored.
    """
    found: list[Prediction] = []
    for start in range(0, len(orders), _PAGE):
        found += await _page(ledger, codec, orders[start : start + _PAGE])
    return found


async def _page(ledger: Ledger, codec: Codec, orders: Sequence[RedriveOrder]) -> list[Prediction]:
    read = [_source(codec, one.record.value) for one in orders]
    keys = {key for key, _ in filter(None, read)}
    known = {fact.source for fact in await reads.facts(ledger, sorted(keys))}
    return [
        Prediction(Outcome.REFUSED, ("IZIN-UNREADABLE-DECISION",))
        if one is None
        else Prediction(Outcome.KNOWN if one[1] in known else Outcome.RECORDED)
        for one in read
    ]


def _source(codec: Codec, value: bytes) -> tuple[str, str] | None:
    """Return the key and the source of a decision, as the history has them; None: it is none."""
    try:
        decision = DecisionReader(codec).decode(value)
    except (UndecodableError, UnknownSchemaError):
        return None
    return key_text(decision["consent"]), source_of(decision)


def taken(
    results: Results, sent: Sequence[SentLetter], letters_from: dict[int, int]
) -> list[RedriveResult]:
    """Return what the ledger made of ``sent``, all of which it has passed: it has taken what is no
    dead letter again. Raises BrokerError.
    """
    again = results.letters_of({one.place: one for one in sent}, letters_from)
    return [
        RedriveResult(
            letter=one.letter,
            to=one.redrive.to,
            result=Outcome.REFUSED,
            detail=f"dead letter {again[one.place].name}",
        )
        if one.place in again
        else RedriveResult(
            letter=one.letter,
            to=one.redrive.to,
            result=Outcome.KNOWN if one.expected is Outcome.KNOWN else Outcome.RECORDED,
        )
        for one in sent
    ]
