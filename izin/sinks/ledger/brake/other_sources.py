"""Opt-outs of another source behind one that a brake holds back, or that a person has withdrawn.

A citizen opts out on the web, and a faulty list has the same recipient: by the order of events the
later one takes the row. Held back or withdrawn, it must not take the other with it. So the latest
opt-out of another source since the latest opt-in is desired in its place, as it was given; what
took its place before is named (``void_event_id``), so that its repetitions change nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from izin.consent.model import Status
from izin.schemas.records import event_from_avro
from izin.sinks.ledger.brake.counting import SourcedEvent, sources_of
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.record import earlier_opt_out, ruling
from izin.sinks.record.apply import said_of_opt_out, taken_over
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow

_NEVER = datetime.min.replace(tzinfo=UTC)
_SQL = statements("brakes")


async def put_back(
    changes: UnitOfWork, rows: Collection[ConsentRow], brands: Mapping[int, Brand]
) -> set[str]:
    """Desire the opt-out of another source in place of that of each of the locked ``rows`` that has
    one; return their keys.
    """
    connection = changes.connection
    keys = {"keys": [row.key for row in rows]}
    found = await (await connection.execute(_SQL["opt-outs-of-keys"], keys)).fetchall()
    withdrawn = {(one["key"], one["event_id"]) for one in found if one["decision"] is None}
    decided = [
        (one["key"], decision, event)
        for one in found
        if one["decision"] is not None
        and (decision := history_codec().decode("Decision", one["decision"]))
        and (event := decision["event"])["status"] == Status.RET
    ]
    named = [
        SourcedEvent(event["brand_code"], key, event["event_id"], event["actor"], event["origin"])
        for key, _, event in decided
    ]
    by_key = defaultdict[str, list[tuple[str, Mapping[str, Any]]]](list)
    for source, (key, decision, _) in zip(
        await sources_of(connection, named), decided, strict=True
    ):
        by_key[key].append((source, decision))
    back = set()
    for row in rows:
        events = by_key[row.key]
        own = {source for source, one in events if _id(one) == row.desired_event_id} or {
            row.desired_origin or ""
        }
        others = [
            one
            for source, one in events
            if source not in {ruling.RESCUE, *own}
            and one["event"]["iys"] is None
            and one["effective_at"] >= (row.latest_onay_at or _NEVER)
            and (row.key, _id(one)) not in withdrawn
        ]
        if others:
            latest = max(others, key=lambda one: (one["effective_at"], _id(one)))
            changes.rule(row, _desiring(row, latest), brands.get(row.brand_code))
            back.add(row.key)
    return back


def _id(decision: Mapping[str, Any]) -> str:
    return str(decision["event"]["event_id"])


def _desiring(row: ConsentRow, decision: Mapping[str, Any]) -> ConsentRow:
    """Return ``row`` once it desires the opt-out that was decided on."""
    kept = said_of_opt_out(event_from_avro(decision["event"]), decision)
    shown = row.replace(latest_ret_at=decision["effective_at"], **kept)
    return taken_over(row, **earlier_opt_out.columns_of_earlier(shown))
