"""The registry of fast copies of the fold, each held equal to it by generated histories.

A copy says in less time what the general path says: the law (``consent``), the codec, and the
ledger's ``record.apply`` and ``record.ruling``. A history is folded by that path alone; each copy
is then given what the path was given, and must say the same after every fact. To add a copy: a
function that compares, and a line in ``FAST_COPIES``.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from izin.consent import Action, State
from izin.kafka.tables.packed_permissions import (
    Known,
    PackedPermissions,
    PermissionFacts,
    whole_seconds,
)
from izin.kafka.tables.permission_reader import PermissionReader, facts_of
from izin.ledger import outbox
from izin.ledger.bulk.alike import Alike, alike, columns_of, shape_of
from izin.ledger.db import copy_format
from izin.ledger.record import OWN, SHARED, ConsentRow, apply
from izin.schemas.fast.writer import writer_of
from izin.schemas.records import key_from_avro
from izin.sinks.ingest.decision_reader import DecisionApplier, DecisionReader
from izin.streams.fast_path.rows import RowReader, RowWriter
from izin.streams.ownership import OutputRecord
from izin.streams.state import packing
from izin.streams.state.packing import NEVER, Packing
from izin.streams.state.state import MemoryState
from tests.support.builders import NOON, a_key
from tests.support.fast_copies.histories import MESSAGES, NOW, Change, Step, saved, written
from tests.support.order.harness import (
    CODEC,
    KEY,
    TOPICS,
    OrderHarness,
    consent_of,
    row_of,
)

_MILLISECOND = 1000


def compare_order_stage(steps: Sequence[Step]) -> None:
    """Fold the same records on the fast path, one by one and in batches."""
    steps = [one for one in steps if one.record is not None]
    for size in (1, 4):
        stage, state = OrderHarness(), MemoryState()
        for start in range(0, len(steps), size):
            some = steps[start : start + size]
            found = stage.fold([one.record for one in some if one.record is not None], state)
            state.apply(found.changes, start + len(some))
            expected: list[OutputRecord] = [each for one in some for each in one.effects.writes]
            counts: Counter[str] = sum((one.effects.counts for one in some), Counter())
            moved = [each for one in some for each in one.effects.repartitioned]
            assert (found.writes, found.counts, found.repartitioned) == (expected, counts, moved)
            assert consent_of(state, KEY) == some[-1].consent
            assert consent_of(state, KEY) == some[-1].consent


def compare_packed_states(steps: Sequence[Step]) -> None:
    """Pack each state of the key and read it back, with a table that has room for few."""
    for packed in (Packing(), Packing(most=0)):
        for consent in (one.consent for one in steps if one.consent is not None):
            assert packed.unpack(KEY, packed.pack(consent)) == consent
            assert packed.unpack_facts(packed.pack(consent)) == packing.facts_of(consent)


def compare_rows(steps: Sequence[Step]) -> None:
    """Write each state of the key as a row and read it back, as the codec does."""
    writer, reader = RowWriter(CODEC), RowReader(CODEC)
    for consent in (one.consent for one in steps if one.consent is not None):
        row, facts = row_of(consent), packing.facts_of(consent)
        key = consent.key
        texts = [str(key.channel), str(key.recipient_type), key.recipient]
        key_fields = writer_of("int")(key.brand_code) + b"".join(map(writer_of("string"), texts))
        assert writer.write(key_fields, *facts) == row
        shared, *instants, event_id = facts
        kept = [it if it == NEVER else it // _MILLISECOND * _MILLISECOND for it in instants]
        assert reader.read(row) == (shared, *kept, event_id)


def compare_simple_decisions(steps: Sequence[Step]) -> None:
    """Read each decision from its bytes, and apply it to every row that there was: a ledger may be
    ahead of its topic, or behind.
    """
    reader = DecisionReader(CODEC)
    applier = DecisionApplier(reader)
    rows = [one.row for one in steps if one.row is not None]
    for value in (each for one in steps for each in one.decisions):
        read, decision = reader.read(value), reader.decode(value)
        assert read._replace(fields=None) == reader._read(value)
        for row in (None, *rows, *(one.replace(**_UNDER_WAY) for one in rows[-1:])):
            assert applier.apply(row, read, NOW) == apply.decided(row, decision, NOW)


_UNDER_WAY: Mapping[str, Any] = {
    "customer_id": "another",
    "attested": True,
    "registrable": False,
    "state": State.RETRYABLE,
    "action": Action.SEND,
    "reason": "x",
    "code": "H124",
    "attempts": 3,
    "next_attempt_at": NOON,
    "lease_owner": "1",
    "lease_until": NOON,
}
"""What may have become of a row meanwhile."""


def compare_rows_alike(steps: Sequence[Step]) -> None:
    """Have each change done to the rows of other keys that seem to be changed alike, as it was done
    to the first of its shape.
    """
    for change in (each for one in steps for each in one.changes):
        before, after, now = change.before, change.after, change.now
        first = change.rule(after)
        made = alike(MESSAGES, before, after, first, now)
        if made is None or (change.is_answer and first.row.action is Action.SEND):
            continue
        for name, moved in _MOVED:
            old = None if before is None else of_another(before, name, moved)
            new = change.termed(of_another(after, name, moved))
            for other in (new, new.replace(desired_event_id="of-another")):
                if shape_of(old, other, now) == shape_of(before, after, now):
                    compare_alike(made, old, other, change)


def compare_alike(made: Alike, old: ConsentRow | None, new: ConsentRow, change: Change) -> None:
    """Compare what is made of a row alike with what the general path makes of it."""
    changes, messages = saved(old, change.rule(new), change.now)
    row, facts = changes.written(change.rule(new).row), list[Any]()
    if not made.is_change:
        assert (row, messages) == (old, [])
        return
    assert made.columns_of(new) == columns_of(row, (*OWN, *SHARED))
    at = copy_format.moment(change.now)
    assert made.published(old, new, facts) == [outbox.row_of(each, at) for each in messages]
    assert [_outcome(each) for each in facts] == [
        (each.key, each.event_id, each.status, each.source, _json(each.data))
        for each in changes._entries
    ]


_MOVED = [
    (name, moved)
    for name in ("desired_at", "latest_ret_at", "registered_at", "registered_consent_date")
    for moved in (timedelta(0), timedelta(seconds=1), timedelta(seconds=-2), timedelta(days=-9))
]
"""By how much an instant of another row differs."""


def of_another(row: ConsentRow, instant: str, moved: timedelta) -> ConsentRow:
    """Return the row of another key, to which the same happened: its own texts differ, and one of
    its instants.
    """
    own = {name: row.__dict__[name] for name in OWN if name not in {"key", "recipient"}}
    texts = {name: f"{one}-other" for name, one in own.items() if isinstance(one, str)}
    at, recipient = own[instant], "+905559999999"
    texts |= {"recipient": recipient, "key": row.key.replace(row.recipient, recipient)}
    return row.replace(**texts, **{instant: None if at is None else at + moved})


def compare_permissions(steps: Sequence[Step]) -> None:
    """Read permissions and opt-outs into the table of the gate, and the erasure of the key; as they
    come, and from a ledger that is some facts behind the opt-outs.
    """
    reader = PermissionReader(CODEC)
    for behind in (0, 2):
        table, known = PackedPermissions(), None
        late = [[], []][:behind] + [one.permissions for one in steps]
        for one, permissions in zip(steps, late, strict=False):
            for value in written(one.effects, TOPICS.opt_outs.name):
                consent = CODEC.decode("Consent", value)
                if key_from_avro(consent) == a_key():
                    at = whole_seconds(consent["effective_at"])
                    table.opt_out(KEY, at)
                    if known is None or known.at <= at:
                        known = Known(may_send=False, reason="opted-out", at=at)
            if one.effects.counts["erased"]:
                table.remove(KEY)
                known = _erased(known)
            for message in permissions:
                general = facts_of(CODEC.decode("Permission", message.value))
                assert reader.read(message.value) == general
                table.put(KEY, general)
                known = permitted(known, general)
            assert table.find(KEY) == known


def _erased(known: Known | None) -> Known | None:
    """Return what is left of an erased key: its latest opt-out."""
    if known is None or known.may_send or not known.at:
        return None
    return Known(may_send=False, reason="opted-out", at=known.at)


def permitted(known: Known | None, facts: PermissionFacts) -> Known:
    """Return what is known once the ledger says ``facts``: a consent counts only where it is newer
    than the latest opt-out.
    """
    opted_out_at = 0 if known is None or known.may_send else known.at
    if not facts.may_send:
        return Known(may_send=False, reason=facts.reason, at=opted_out_at)
    if opted_out_at and opted_out_at >= facts.consent_at:
        return Known(may_send=False, reason="opted-out", at=opted_out_at)
    return Known(may_send=True, reason=facts.reason, at=facts.consent_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastCopy:
    """A part of the product that exists for speed alone."""

    name: str
    modules: Sequence[str]
    """Where it is."""
    compare: Callable[[Sequence[Step]], None]
    """Fails where it says otherwise than the general path."""


FAST_COPIES = (
    FastCopy(
        name="order stage's simple events",
        modules=("izin.streams.fast_path.simple_events",),
        compare=compare_order_stage,
    ),
    FastCopy(
        name="packed states",
        modules=("izin.streams.state.packing",),
        compare=compare_packed_states,
    ),
    FastCopy(
        name="rows of desired-consents",
        modules=("izin.streams.fast_path.rows",),
        compare=compare_rows,
    ),
    FastCopy(
        name="simple decisions",
        modules=("izin.sinks.ingest.decision_reader",),
        compare=compare_simple_decisions,
    ),
    FastCopy(
        name="rows alike",
        modules=("izin.ledger.bulk.alike",),
        compare=compare_rows_alike,
    ),
    FastCopy(
        name="packed permissions",
        modules=("izin.kafka.tables.packed_permissions", "izin.kafka.tables.permission_reader"),
        compare=compare_permissions,
    ),
)
"""Every copy of the fold."""


def _json(data: Mapping[str, Any] | None) -> Any:  # noqa: ANN401  # any JSON
    return json.loads(orjson.dumps(data))


def _outcome(fact: Any) -> tuple[Any, ...]:  # noqa: ANN401  # of the hash chain
    return fact.key, fact.event_id, fact.status, fact.source, json.loads(fact.data)
