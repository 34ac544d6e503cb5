"""Everything that the ledger has of a person, for the person (6698 m.11)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from izin.sinks.ledger import reads
from izin.sinks.ledger.daily import lines
from izin.sinks.ledger.db import Ledger, statements
from izin.sinks.ledger.privacy import erasure
from izin.sinks.ledger.registry import complaints

_SQL = statements("privacy")
_ROWS = statements("reads")["rows"]


async def export(ledger: Ledger, recipient: str, *, customer: str | None) -> Mapping[str, Any]:
    """Return what the ledger has of a ``recipient`` (normalised) as JSON, key by key: its row, its
    history, its calls to İYS, its lines in İYS's daily files, and until when the history is
    retained; and the complaints. ``customer``: only of that one; None: of all.
    """
    found = await reads.keys_of(ledger, [recipient])
    kept = [
        one
        for one in await erasure.findings(ledger, found[recipient])
        if customer in {None, one.customer_id}
    ]
    keys = [one.key for one in kept]
    rows = {row["key"]: row for row in await ledger.fetch(_ROWS, {"keys": keys})}
    facts = await reads.facts(ledger, keys)
    calls = await ledger.fetch(_SQL["submissions"], {"keys": keys})
    complained = await complaints.of_recipient(ledger, recipient, customer=customer)
    return {
        "recipient": recipient,
        "complaints": [asdict(one) for one in complained],
        "keys": [
            {
                "key": one.key,
                "customer": one.customer_id,
                "state": rows.get(one.key),
                "history": [asdict(fact) for fact in facts if fact.key == one.key],
                "calls": [call for call in calls if call["key"] == one.key],
                "daily_files": await lines.find(
                    ledger,
                    lines.shown_by(
                        (fact.kind, fact.key, fact.data) for fact in facts if fact.key == one.key
                    ),
                ),
                "kept_until": max(
                    filter(None, (one.retain_until, one.evidence_until)), default=None
                ),
            }
            for one in kept
        ],
    }
