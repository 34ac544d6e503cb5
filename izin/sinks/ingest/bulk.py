"""Write in bulk what a batch of decisions makes of new keys and of known ones."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from izin.consent.model import Status
from izin.sinks.ingest.bulk_rows import NewRowBuilder
from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.ingest.known_keys.decisions import NewerDecision, NewerDecisions
from izin.sinks.ingest.known_keys.saving import BulkChanges
from izin.sinks.ingest.known_keys.templates import KnownRow
from izin.sinks.ledger.brake.counting import Watched
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Connection, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.unit_of_work import UnitOfWork

_CHUNK = 400
_CONSENTS = statements("consents")
_OUTBOX = statements("outbox")


async def write_new(
    connection: Connection, builder: NewRowBuilder, decisions: Sequence[IncomingDecision]
) -> list[IncomingDecision]:
    """Write the rows of new keys; return the decisions that must be applied one by one."""
    rest: list[IncomingDecision] = []
    messages: list[bytes] = []

    def consents() -> Iterator[bytes]:
        for start in range(0, len(decisions), _CHUNK):
            built = [(one, builder.build(one)) for one in decisions[start : start + _CHUNK]]
            rest.extend(one for one, rows in built if rows is None)
            messages.append(b"".join([rows[1] for _, rows in built if rows is not None]))
            yield b"".join([rows[0] for _, rows in built if rows is not None])

    if decisions:
        await copy(connection, _CONSENTS["copy"], consents())
    if any(messages):
        await copy(connection, _OUTBOX["copy"], messages)
        await connection.execute(f"NOTIFY {notifications.OUTBOX}")
    return rest


async def change_known(  # noqa: PLR0913, PLR0917  # where, how, what, and what is watched
    connection: Connection,
    changes: UnitOfWork,
    kind: NewerDecisions,
    rows: Mapping[str, KnownRow],
    decisions: Sequence[IncomingDecision],
    watched: Watched,
) -> list[IncomingDecision]:
    """Save what ``decisions``, each on another key, make of the locked ``rows``; return those that
    must be applied one by one, among them those on the brands ``watched`` by a brake.

    Raises:
        ConcurrentChangeError: a row is not where it was read.
    """
    bulk = BulkChanges[NewerDecision](kind=kind, topic_messages=changes.topic_messages)
    rest: list[IncomingDecision] = []
    for place, one in enumerate(decisions):
        row = rows[one.key]
        is_reversal = row.desired_status == Status.RET and not one.is_ret
        is_counted = one.brand_code in watched.opted_in or (
            is_reversal and one.brand_code in watched.reversals
        )
        found = None if is_counted else kind.likened(one, row)
        if found is None:
            rest.append(one)
        else:
            bulk.add(found[0], row, found[1])
        if place % _CHUNK == _CHUNK - 1:
            # Let pushes in, which share this event loop.
            await asyncio.sleep(0)
    rest += [one.decision for one in await bulk.save(connection, changes)]
    return rest
