"""The erasures among a batch of decisions: for the ledger, that all before them was stored."""

from collections.abc import Sequence
from datetime import datetime

from izin.schemas.erasure import ERASED
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ledger.privacy.erasure import ErasedKey


def erased_keys(
    reader: DecisionReader, decisions: Sequence[IncomingDecision], now: datetime
) -> list[ErasedKey]:
    """Return the keys that some of ``decisions`` erase; where a later event of a key was decided,
    in this batch or before, it is known again.
    """
    places = [place for place, one in enumerate(decisions) if one.is_erasure]
    if not places:
        return []
    last = {one.key: place for place, one in enumerate(decisions)}
    found = []
    for place in places:
        key, decision = decisions[place].key, reader.decode(decisions[place].value)
        event, is_gone = decision["event"], decision["reason"] == ERASED
        erased = ErasedKey(
            key,
            event["customer_id"],
            event["event_id"],
            event["consent_date"] or now,
            is_last=is_gone and last[key] == place,
        )
        found.append(erased)
    return found
