"""The registry of fast copies of the fold, each held equal to it by generated histories.

A copy says in less time what the general path says: the law (``consent``), the codec, and the
ledger's ``record.apply`` and ``record.ruling``. A history is folded by that path alone; each copy
is then given what the path was given, and must say the same after every fact. To add a copy: a
function that compares, and a line in ``FAST_COPIES``.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import orjson
from hypothesis import strategies as st

from izin.consent import (
    TURKEY_CALENDAR,
    Action,
    Consent,
    ConsentEvent,
    Observation,
    Registered,
    State,
    Status,
)
from izin.iys.errors import Verdict
from izin.iys.wire_format import Receipt
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
from izin.ledger.record import (
    OWN,
    SHARED,
    Brand,
    ConsentRow,
    Item,
    ItemResult,
    Message,
    RuledRow,
    TopicMessages,
    apply,
    item_result,
    ruling,
)
from izin.ledger.unit_of_work import UnitOfWork
from izin.schemas.erasure import ERASURE
from izin.schemas.fast.writer import writer_of
from izin.schemas.records import key_from_avro
from izin.schemas.topics import Topics
from izin.sinks.ingest.decision_reader import DecisionApplier, DecisionReader
from izin.streams.fast_path.rows import RowReader, RowWriter
from izin.streams.fetched_record import FetchedRecord
from izin.streams.ownership import Effects, OutputRecord
from izin.streams.state import packing
from izin.streams.state.packing import NEVER, Packing
from izin.streams.state.state import MemoryState
from tests.support.builders import EMAIL, NOON, PHONE, a_key, an_event, an_iys_event, an_iys_origin
from tests.support.order.harness import (
    CODEC,
    HOME,
    KEY,
    TOPICS,
    OrderHarness,
    a_record,
    consent_of,
    row_of,
)

NOW = NOON + timedelta(hours=3)
BRAND = Brand(
    brand_code=100001,
    iys_code=100001,
    customer_id="acme",
    name="Örnek",
    status="active",
    activated_at=datetime.fromisoformat("2020-01-01T00:00:00+00:00"),
)
MESSAGES = TopicMessages(CODEC, Topics())


class Act(Enum):
    """What happens beside events and observations."""

    RESTORED = "the ledger is lost, and its row restored from the state of the order stage"
    SAVED = "İYS saves what is due"
    REFUSED = "İYS refuses what is due"
    EXPIRED = "days pass"


Fact = ConsentEvent | Observation | Act
_DATES = (
    st.integers(-3, 3).map(lambda n: NOON + timedelta(seconds=n))
    | st.sampled_from([NOON + timedelta(milliseconds=250), NOON - timedelta(milliseconds=1)])
    | st.just(NOON - timedelta(days=10))
)
_EVENTS = st.builds(
    an_event,
    event_id=st.sampled_from(["1", "2", "0b5ba28e-1c9f-4dd8-9d6c-0d6f8d1b7e11", "", "9" * 70]),
    status=st.sampled_from(["ONAY", "RET", "ONAY", "RET", "ret", "HAYIR"]),
    source=st.sampled_from(["HS_WEB", "HS_WEB", "HS_KARAR", "HS_2015", "hs_web", "", None]),
    recipient=st.sampled_from([PHONE, PHONE, PHONE, "0555 000 00 01", EMAIL, "+4915112345678"]),
    type=st.sampled_from(["MESAJ", "MESAJ", "MESAJ", "EPOSTA", "mesaj"]),
    recipient_type=st.sampled_from(["BIREYSEL", "BIREYSEL", "TACIR", ""]),
    consent_date=st.none() | _DATES,
    received_at=st.none() | _DATES | st.just(NOW + timedelta(minutes=4)),
    date_basis=st.sampled_from(["stated", "stated", "received", "day", "minute"]),
    customer_id=st.sampled_from(["acme", "acme", ""]),
    brand_code=st.sampled_from([100001, 100001, 0]),
    retailer_code=st.sampled_from([None, None, 11111111, 5]),
    retailer_access=st.sampled_from([None, None, (11111111,), ()]),
    recipient_raw=st.sampled_from([None, "0555 000 00 01"]),
    sequence=st.none() | st.integers(0, 1 << 40),
    evidence=st.sampled_from([{}, {"sayfa": "/üye"}, {"a": "b" * 80}]),
    origin=st.sampled_from(["web", "crm"]),
    origin_ref=st.sampled_from([None, "row-1", "r" * 80]),
    notice_version=st.sampled_from([None, "2026-1"]),
    import_id=st.sampled_from([None, None, "f00"]),
)
"""Of our systems: lawful ones, and any others."""
_USUAL = st.builds(
    an_event,
    event_id=st.sampled_from(["1", "2", "3", "4"]),
    status=st.sampled_from(["ONAY", "RET"]),
    consent_date=_DATES,
    received_at=st.just(NOON + timedelta(minutes=1)),
)
_AT_IYS = st.builds(
    an_iys_event,
    event_id=st.sampled_from(["iys-1", "iys-2"]),
    status=st.sampled_from(["ONAY", "RET"]),
    received_at=st.just(NOON + timedelta(minutes=2)),
    iys=st.builds(
        an_iys_origin,
        stream=st.sampled_from(["IYS", "HS"]),
        path=st.sampled_from(["push", "pull", "daily"]),
        creation_date=_DATES,
        transaction_id=st.just("c" * 64),
    ),
)
_ERASURES = st.builds(
    an_event,
    status=st.just(ERASURE),
    event_id=st.just("erasure-1"),
    source=st.none(),
    consent_date=_DATES,
    received_at=st.just(NOON + timedelta(minutes=1)),
)
_SHOWN = st.builds(
    Observation,
    value=st.sampled_from([Registered.ONAY, Registered.RET]),
    creation_date=_DATES,
    consent_date=st.none() | _DATES,
    source=st.sampled_from(["HS_WEB", "IYS_WEB"]),
    transaction_id=st.sampled_from(["c" * 64, "d" * 64]),
    verified_at=st.just(NOW),
    verified_by=st.sampled_from(["push", "pull", "daily", "status"]),
)
_SWEPT = st.builds(
    Observation,
    value=st.sampled_from([Registered.ONAY, Registered.NOT_ONAY, Registered.NONE]),
    creation_date=st.sampled_from([NOW, NOON]),
    verified_at=st.just(NOW),
    verified_by=st.just("statuses"),
)
HISTORIES: st.SearchStrategy[list[tuple[Fact, bytes | None]]] = st.lists(
    st.tuples(
        st.one_of(
            *(_USUAL, _USUAL, _USUAL, _EVENTS, _AT_IYS, _SHOWN, _SWEPT, _ERASURES),
            *(st.just(Act.SAVED), st.sampled_from(Act)),
        ),
        st.sampled_from([KEY, KEY, KEY, KEY, a_key(recipient=EMAIL).encode(), b"any", None]),
    ),
    max_size=14,
)
"""Facts about a key, and by which key an event was published."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What the ledger makes of a fact, before it is ruled and after."""

    now: datetime
    before: ConsentRow | None
    after: ConsentRow
    """Not ruled, with its terms."""
    rule: Callable[[ConsentRow], RuledRow]
    """What the general path makes of such a row."""
    termed: Callable[[ConsentRow], ConsentRow]
    """Such a row with its terms."""
    is_answer: bool
    """Whether İYS has saved what was due; what is due again then is retried one by one."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A fact, and what the general path made of it."""

    record: FetchedRecord | None
    """Of an event."""
    effects: Effects
    """What the order stage writes."""
    consent: Consent | None
    """Of the key, from then on."""
    row: ConsentRow | None
    """Of the key, before."""
    decisions: Sequence[bytes] = ()
    """About the key."""
    changes: Sequence[Change] = ()
    permissions: Sequence[Message] = ()


class GeneralFold:
    """One key, folded by the general path alone: order stage, then ledger."""

    def __init__(self) -> None:
        self._order, self._state = OrderHarness(), MemoryState()
        self._row: ConsentRow | None = None
        self._now = NOW
        self._offset = 0
        self._changes: list[Change] = []
        self._permissions: list[Message] = []
        self._decisions: list[bytes] = []

    def take(self, fact: Fact, key: bytes | None) -> Step:
        """Fold a fact."""
        self._changes, self._permissions, self._decisions = [], [], []
        self._now += timedelta(seconds=1)
        row, record, effects = self._row, None, Effects()
        match fact:
            case ConsentEvent():
                record = a_record(fact, partition=HOME, offset=self._offset, key=key)
                self._offset += 1
                effects = self._order.fold_generally([record], self._state)
                self._state.apply(effects.changes, self._offset)
                for value in written(effects, TOPICS.decisions.name):
                    self._decide(value)
            case Observation() if row is not None:
                seen = replace(fact, verified_at=self._now)
                self._rule(apply.observed(row, seen), self._ruled_observing)
            case Act.RESTORED if consent_of(self._state, KEY) is not None:
                consent = consent_of(self._state, KEY)
                assert consent is not None
                self._row = None
                self._rule(apply.restored(None, consent, self._now), self._ruled)
            case Act.EXPIRED if row is not None:
                self._now += timedelta(days=5)
                self._write(row, self._ruled(row, self._now))
            case Act.SAVED | Act.REFUSED if row is not None and row.action is Action.SEND:
                self._answer(row, is_saved=fact is Act.SAVED)
            case _:
                pass
        return Step(
            record=record,
            effects=effects,
            consent=consent_of(self._state, KEY),
            row=row,
            decisions=self._decisions,
            changes=self._changes,
            permissions=self._permissions,
        )

    def _decide(self, value: bytes) -> None:
        decision = CODEC.decode("Decision", value)
        if decision["event"]["status"] == ERASURE:
            self._row = None
        elif key_from_avro(decision["consent"]) == a_key():
            self._decisions.append(value)
            self._rule(apply.decided(self._row, decision, self._now), self._ruled)

    def _answer(self, row: ConsentRow, *, is_saved: bool) -> None:
        item = Item(
            place=0,
            customer_id=row.customer_id,
            key=row.key,
            event_id=row.desired_event_id or "",
            status=row.desired_status or "",
            consent_date=row.desired_consent_date,
            source=row.desired_source,
            attempt=row.attempts + 1,
            origin=row.desired_origin or "",
            origin_ref=row.desired_origin_ref,
        )
        is_ret = item.status == Status.RET
        self._row = row = row.replace(
            state=State.IN_FLIGHT,
            action=Action.NOTHING,
            reason=None,
            attempts=item.attempt,
            next_attempt_at=None,
            last_exchange_at=self._now,
            onay_open=row.onay_open or not is_ret,
            ret_open=row.ret_open or is_ret,
        )
        receipt = Receipt(transaction_id="e" * 64, creation_date=self._now)
        result = ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, how="batch")
        if not is_saved:
            result = ItemResult(verdict=Verdict.DATA, code="H120", how="batch")
        if is_saved and not is_ret:
            self._rule(item_result.accepted_row(row, item, result, self._now), self._ruled_answered)
            return
        applied = item_result.apply_result(
            row, item, result, BRAND, self._now, calendar=TURKEY_CALENDAR
        )
        self._write(row, applied.ruled)

    def _rule(self, after: ConsentRow, rule: Callable[[ConsentRow, datetime], RuledRow]) -> None:
        is_answer, now = rule == self._ruled_answered, self._now

        def termed(row: ConsentRow) -> ConsentRow:
            return ruling.termed(row, BRAND, now, calendar=TURKEY_CALENDAR, answered=is_answer)

        def ruled(row: ConsentRow) -> RuledRow:
            return rule(row, now)

        change = Change(
            now=now,
            before=self._row,
            after=termed(after),
            rule=ruled,
            termed=termed,
            is_answer=is_answer,
        )
        self._changes.append(change)
        self._write(self._row, rule(after, now))

    def _write(self, before: ConsentRow | None, ruled: RuledRow) -> None:
        changes, messages = saved(before, ruled, self._now)
        self._row = changes.written(ruled.row)
        self._permissions += [one for one in messages if one.topic == Topics().permissions.name]

    def _ruled(self, after: ConsentRow, now: datetime) -> RuledRow:
        return ruling.rule_row(after, BRAND, now, calendar=TURKEY_CALENDAR)

    def _ruled_observing(self, after: ConsentRow, now: datetime) -> RuledRow:
        return ruling.rule_row(after, BRAND, now, calendar=TURKEY_CALENDAR, observing=True)

    def _ruled_answered(self, after: ConsentRow, now: datetime) -> RuledRow:
        return ruling.rule_row(
            after, BRAND, now, calendar=TURKEY_CALENDAR, answered=True, submitted=True
        )


def saved(
    before: ConsentRow | None, ruled: RuledRow, now: datetime
) -> tuple[UnitOfWork, list[Message]]:
    """Return the unit of work that saves a ruled row, and what it publishes."""
    nowhere: Any = None
    changes = UnitOfWork(nowhere, MESSAGES, TURKEY_CALENDAR, now)
    changes.apply(before, ruled)
    messages = [
        one
        if isinstance(one, Message)
        else MESSAGES.permission_of(one.row, now, previous=one.previous)
        for one in changes._messages
    ]
    return changes, messages


def written(effects: Effects, topic: str) -> list[bytes]:
    """Return the values that effects write to a topic."""
    return [one.value for one in effects.writes if one.topic == topic and one.value is not None]


def folded(history: Sequence[tuple[Fact, bytes | None]]) -> list[Step]:
    """Return a history, folded by the general path."""
    general = GeneralFold()
    return [general.take(fact, key) for fact, key in history]


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
