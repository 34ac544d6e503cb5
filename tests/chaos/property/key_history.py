"""The history of one key: generated acts, applied by the code that the ledger itself uses.

Nothing of the product is repeated here but what only SQL does: a claim puts a row in flight and
notes that it is open. The order stage decides, ``record.apply`` applies, ``record.ruling`` rules,
``record.item_result`` takes İYS's results and ``outbound.status_query`` the answers to queries.

After each act: where İYS may hold an ONAY that is not newer than the latest opt-out, as far as
anybody here could know, no message may be sent, and something is due, or on its way, or a person is
told; a person who withdrew the opt-out, or an erasure, is the exception. At the end İYS is honest
and all is delivered: then İYS holds no such ONAY, whatever happened before.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from izin.consent import (
    CLOSED,
    TURKEY_CALENDAR,
    WAITING,
    Action,
    AdmittedEvent,
    Consent,
    ConsentEvent,
    Observation,
    Registered,
    State,
    Status,
    admit,
    decide,
    is_of_citizens,
)
from izin.iys.errors import RefusedError, Verdict, classify
from izin.iys.wire_format import IysMovement, Receipt, RegisterRecord, Stream
from izin.ledger.record import (
    Brand,
    ConsentRow,
    Item,
    ItemResult,
    RuledRow,
    apply,
    event_of,
    item_of,
    item_result,
    ruling,
)
from izin.schemas.records import consent_to_avro, event_to_avro, violation_to_avro
from izin.sinks.outbound import status_query
from tests.chaos.property.register import REFUSALS, Register, foreign

BEGINS_AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
"""A Monday."""
BRAND, CUSTOMER, PHONE = 100001, "acme", "+905321234567"
KEY = f"{BRAND}/MESAJ/BIREYSEL/{PHONE}"
ACTIVE = Brand(
    brand_code=BRAND,
    iys_code=BRAND,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)
LOADING = replace(ACTIVE, activated_at=None)
_MINUTE = timedelta(minutes=1)
_STEPS = (_MINUTE, _MINUTE, 20 * _MINUTE, timedelta(hours=7), timedelta(days=1), timedelta(days=6))
_SETTLING = 60
"""So many steps settle any history."""


class HiddenOptOutError(AssertionError):
    """İYS may hold an ONAY that the latest opt-out withdraws, and nothing is due."""


class KeyHistory:
    """One key, İYS and the acts so far."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = BEGINS_AT
        self.calendar = TURKEY_CALENDAR
        self.brand = LOADING if random.random() < 0.15 else ACTIVE
        self.iys = Register()
        self.consent: Consent | None = None
        self.row: ConsentRow | None = None
        self.ret_at: datetime | None = None
        """The latest opt-out that was decided."""
        self.is_withdrawn = False
        """Whether a person has withdrawn it."""
        self.acts: list[str] = []
        self._events: list[ConsentEvent] = []
        self._incoming: deque[ConsentEvent] = deque()
        """What the sinks published, and what İYS showed: events on their way."""
        self._entries: deque[Observation] = deque()
        """What İYS will show in a pull."""
        self._open: dict[str, tuple[Item, str | None, RegisterRecord | None]] = {}
        """What was submitted, by its status, and what İYS made of it."""
        self._number = 0

    # What the ledger does, as far as it is no pure code.

    @property
    def written(self) -> ConsentRow:
        """The row, which must exist."""
        assert self.row is not None
        return self.row

    def put(self, before: ConsentRow | None, after: ConsentRow) -> ConsentRow:  # noqa: ARG002 - as UnitOfWork
        """Write a row."""
        self.row = after
        return after

    def apply(self, before: ConsentRow | None, ruled: RuledRow) -> ConsentRow:  # noqa: ARG002 - as UnitOfWork
        """Write a ruled row, and publish its rescue."""
        if ruled.rescue is not None:
            self._incoming.append(ruled.rescue)
        self.row = ruled.row
        return ruled.row

    def close(self, before: ConsentRow, after: ConsentRow, brand: Brand) -> ConsentRow:
        """Write a row whose obligation is closed."""
        return self.apply(before, ruling.closed(after, brand, self.now, calendar=self.calendar))

    def _ruled(self, row: ConsentRow, **facts: bool) -> None:
        self.apply(
            None, ruling.rule_row(row, self.brand, self.now, calendar=TURKEY_CALENDAR, **facts)
        )

    def _claim(self) -> Item:
        """Put the row in flight, as the statement ``claim-rows`` does."""
        row = self.written
        content = item_of(row)
        item = Item(
            place=0,
            customer_id=row.customer_id,
            key=row.key,
            event_id=row.desired_event_id or "",
            status=row.desired_status or "",
            consent_date=content.consent_date,
            source=None if content.source is None else str(content.source),
            attempt=row.attempts + 1,
            origin=row.desired_origin or "",
            origin_ref=row.desired_origin_ref,
        )
        is_ret = item.status == Status.RET
        self.note("call", item=item)
        self.row = row.replace(
            state=State.IN_FLIGHT,
            action=Action.NOTHING,
            reason=None,
            attempts=row.attempts + 1,
            next_attempt_at=None,
            last_exchange_at=self.now,
            onay_open=row.onay_open or not is_ret,
            ret_open=row.ret_open or is_ret,
        )
        return item

    def note(self, kind: str, **said: Any) -> None:  # noqa: ANN401  # as each kind has it
        """Record a fact, as the ledger does in its history."""

    # The acts.

    def step(self) -> None:
        """Do one generated act, and check the property."""
        act = self.random.choice(ACTS)
        self.acts.append(act.__name__)
        act(self)
        self.now += self.random.choice(_STEPS)
        self.check()

    def says(self) -> None:
        """Report an opt-in or opt-out of one of our systems: of now, of before, or out of order."""
        random = self.random
        self._number += 1
        is_ret = random.random() < 0.45
        ago = timedelta(minutes=random.choice((0, 0, 1, 30, 600, 3000, 12000)))
        event = ConsentEvent(
            event_id=f"e{random.randrange(1000)}-{self._number}",
            customer_id=CUSTOMER,
            brand_code=BRAND,
            type="MESAJ",
            recipient=PHONE,
            status="RET" if is_ret else "ONAY",
            source="HS_NOWHERE" if is_ret and random.random() < 0.1 else "HS_WEB",
            consent_date=self.now - ago,
            received_at=self.now,
            notice_version="1" if random.random() < 0.5 else None,
            origin="web",
        )
        self._events.append(event)
        self._decide(event)

    def repeats(self) -> None:
        """Decide an event again."""
        if self._events:
            self._decide(self.random.choice(self._events))

    def claims(self) -> None:
        """Decide an event that says it comes from İYS, which never showed it."""
        self._decide(self._event(foreign(self.random, KEY, self.now)))

    def others_write(self) -> None:
        """Write at İYS as a citizen or another provider; a pull and an event will show it."""
        record = foreign(self.random, KEY, self.now)
        if not self.iys.takes(record):
            return
        shown = status_query.observation_of(record, self.now)
        self._entries.append(replace(shown, verified_by="pull"))
        self._incoming.append(self._event(record))

    def pulls(self) -> None:
        """Observe the next entry of İYS."""
        if self._entries:
            self._observe(self._entries.popleft(), observing=True)

    def hears(self) -> None:
        """Decide the next event on its way, or the one behind it."""
        if self._incoming:
            if self.random.random() < 0.3:
                self._incoming.rotate(-1)
            self._decide(self._incoming.popleft())

    def submits(self) -> None:
        """Submit what is due; İYS saves it, refuses it, or fails."""
        if not self._is_sendable():
            return
        item = self._claim()
        code: str | None = self.random.choice(REFUSALS)
        if self.random.random() < 0.6:
            code = self.iys.submit(item, self.now)
        self._note_sent(item, code)
        if self.random.random() < 0.7:
            self.is_answered()

    def is_answered(self) -> None:
        """Take İYS's result of what is open, or query what it holds in its place."""
        if not self._open:
            return
        item, code, saved = self._open.pop(self.random.choice(list(self._open)))
        if self.random.random() < 0.2:
            self._recover(item)
            return
        if code is None and saved is not None:
            receipt = Receipt(
                transaction_id=saved.transaction_id or "", creation_date=saved.creation_date
            )
            result = ItemResult(verdict=Verdict.SUCCESS, receipt=receipt)
        else:
            result = ItemResult(verdict=classify(code or ""), code=code)
        self.note("answer", item=item, result=result)
        applied = item_result.apply_result(
            self.written, item, result, self.brand, self.now, calendar=TURKEY_CALENDAR
        )
        if applied.shown is not None:
            self.note("observation", shown=applied.shown)
        self.apply(self.row, applied.ruled)

    def queries(self) -> None:
        """Query the status, alone or among many; or have İYS refuse the question."""
        row = self.row
        if row is None or row.is_open:
            return
        is_unknown = row.registered == Registered.UNKNOWN and self._is_sendable()
        if row.action is not Action.QUERY and not (is_unknown and row.desired_status == "RET"):
            return
        if row.action is Action.QUERY and self.random.random() < 0.1:
            self.note("refused question")
            parked = status_query.unanswerable(row, RefusedError("not for this recipient"))
            self.close(row, parked, self.brand)
            return
        self._query()

    def expires(self) -> None:
        """Expire the opt-in, as the loop does that finds the row."""
        row = self.row
        if row is not None and self._has_expired(row):
            self._ruled(row)

    def withdraws(self) -> None:
        """Withdraw an opt-out that waits, as a person does."""
        row = self.row
        if row is None or row.desired_status != "RET" or row.state not in WAITING or row.is_open:
            return
        if row.desired_at != self.ret_at or self.random.random() < 0.7:
            return
        self.is_withdrawn = True
        self.row = ruling.withdraw(row, self.now)

    def requeues(self) -> None:
        """Requeue what is parked, as a person does."""
        if self.row is not None and self.row.state is State.PARKED:
            self._ruled(ruling.requeue(self.row))

    def loses_the_ledger(self) -> None:
        """Make the row again from the state of the order stage."""
        if self.consent is not None and not self._open and self.random.random() < 0.3:
            self.row = None
            self.note("bootstrap", consent=self.consent)
            self._ruled(apply.restored(None, self.consent, self.now))

    def is_erased(self) -> None:
        """Erase the key where nothing is due: nobody remembers the opt-out."""
        row = self.row
        is_owed = row is None or row.action is not Action.NOTHING or row.is_open
        if (
            not is_owed
            and row.state in {*CLOSED, State.ACCEPTED, State.NOT_NEEDED}
            and not self._open
        ):
            self.row = self.consent = self.ret_at = None
            self.note("erasure")
            self.is_withdrawn = False
            self._incoming.clear()
            self._entries.clear()
            self._events.clear()

    # What they have in common.

    def _decide(self, event: ConsentEvent) -> None:
        admitted = admit(event, appended_at=self.now)
        if not isinstance(admitted, AdmittedEvent):
            return
        decision = decide(self.consent, admitted)
        self.consent = decision.consent
        latest = decision.consent.latest_ret_at
        if latest != self.ret_at:
            self.ret_at, self.is_withdrawn = latest, False
        self.note("decision", decision=decision)
        record = {
            "violations": [violation_to_avro(one) for one in admitted.violations],
            "consent": consent_to_avro(decision.consent),
            "event": event_to_avro(admitted.event),
        }
        self._ruled(apply.decided(self.row, record, self.now))

    def _event(self, record: RegisterRecord) -> ConsentEvent:
        entry = IysMovement(
            recipient=record.recipient,
            type=record.type,
            recipient_type=record.recipient_type,
            status=record.status,
            source=record.source or "",
            consent_date=record.consent_date,
            creation_date=record.creation_date,
            transaction_id=record.transaction_id or "",
            brand_code=BRAND,
        )
        stream = Stream.IYS if is_of_citizens(record.source) else Stream.HS
        return event_of(entry, self.brand, stream, path="push", at=self.now)

    def _observe(self, observation: Observation, *, observing: bool) -> None:
        if self.row is not None:
            seen = replace(observation, verified_at=self.now)
            self.note("observation", shown=seen)
            self._ruled(apply.observed(self.row, seen), observing=observing)

    def _query(self) -> None:
        row, held = self.written, self.iys.record
        needs_one = row.registered in {Registered.NOT_ONAY, Registered.RET}
        if needs_one or self.random.random() < 0.5:
            statement = status_query.observation_of(held, self.now)
        else:
            is_onay = held is not None and held.status == Status.ONAY
            statement = status_query.observation_of_many(approved=is_onay, queried_at=self.now)
        self.note("observation", shown=statement)
        if held is not None and status_query.is_new_event(row, statement):
            self._incoming.append(self._event(held))
        observed = apply.observed(row, statement).replace(lease_owner=None, lease_until=None)
        status_query.rule(self, row, observed, self.brand)

    def _recover(self, item: Item) -> None:
        """Settle a lost submission by what İYS shows, as ``outbound.recover`` does."""
        row, held = self.written, self.iys.record
        observation = status_query.observation_of(held, self.now)
        self.note("observation", shown=observation)
        answered = apply.observed(apply.answered_row(row, item.status, self.now), observation)
        self._ruled(answered, answered=row.is_of(item.event_id, item.status))

    def _note_sent(self, item: Item, code: str | None) -> None:
        """Note what İYS made of a submission; a pull shows what it saved."""
        saved = self.iys.record if code is None else None
        self._open[item.status] = item, code, saved
        if saved is not None:
            shown = status_query.observation_of(saved, self.now)
            self._entries.append(replace(shown, verified_by="pull"))

    def _is_sendable(self) -> bool:
        """As ``is_sendable`` in SQL."""
        row = self.row
        return (
            row is not None
            and row.state in WAITING
            and row.action is Action.SEND
            and not row.ret_open
            and (not row.onay_open or row.desired_status == "RET")
            and (row.expires_at is None or row.expires_at >= self.now)
            and row.desired_status not in self._open
        )

    def _has_expired(self, row: ConsentRow) -> bool:
        """As ``claim-expired`` in SQL."""
        return (
            row.state in WAITING
            and row.desired_status == "ONAY"
            and row.expires_at is not None
            and row.expires_at < self.now
            and not row.onay_open
            and row.action is not Action.QUERY
        )

    # The property.

    def check(self) -> None:
        """Raise HiddenOptOutError where the property does not hold."""
        row = self.row
        if row is None or not self._may_hold_older_onay(row):
            return
        if row.permission_by_law.may_send:
            raise HiddenOptOutError(self._story())
        if self.is_withdrawn:
            return
        # While an entry is only observed, its event is on its way, and ruled when it comes.
        is_due = row.action is not Action.NOTHING or row.is_open or bool(self._incoming)
        is_stuck = row.action is Action.WAIT and not row.is_open
        has_person = row.desired_status == "RET" and row.state is State.PARKED
        if is_stuck or not (is_due or has_person):
            raise HiddenOptOutError(self._story())

    def _may_hold_older_onay(self, row: ConsentRow) -> bool:
        """Whether İYS may hold an ONAY that is not newer than the latest opt-out: what was seen
        last, and not what is claimed.
        """
        if self.ret_at is None:
            return False
        if row.registered == Registered.ONAY:
            is_citizens = is_of_citizens(row.registered_source)
            given_at = row.registered_at if is_citizens else row.registered_consent_date
            return given_at is None or given_at <= self.ret_at
        is_claimed = row.registered == Registered.RET and row.verified_at is None
        return row.registered == Registered.UNKNOWN or is_claimed

    def settle(self) -> None:
        """Deliver all that is on its way, with an honest İYS, and check what it holds then."""
        for _ in range(_SETTLING):
            if not self._settling():
                break
            self.now += _MINUTE
        row = self.row
        if row is None or self.is_withdrawn or not self.iys.is_onay_before(self.ret_at):
            return
        if row.desired_status != "RET" or row.state is not State.PARKED:
            raise HiddenOptOutError(self._story())

    def _settling(self) -> bool:
        """Do the next of what is left to do; return whether there was anything."""
        row = self.row
        if self._open:
            self.is_answered()
        elif self._entries:
            self.pulls()
        elif self._incoming:
            self.hears()
        elif row is not None and row.action is Action.QUERY and not row.is_open:
            self._query()
        elif self._is_sendable():
            item = self._claim()
            self._note_sent(item, self.iys.submit(item, self.now))
        elif row is not None and self._has_expired(row):
            self.expires()
        else:
            return False
        return True

    def _story(self) -> str:
        row = self.row
        shown = None if row is None else (row.desired_status, row.desired_event_id, row.state)
        more = None if row is None else (row.action, row.reason, row.registered, row.void_event_id)
        return f"{' '.join(self.acts)}: {shown} {more} latest opt-out {self.ret_at}"


ACTS: tuple[Callable[[KeyHistory], Any], ...] = (
    *(KeyHistory.says,) * 7,
    *(KeyHistory.submits,) * 5,
    *(KeyHistory.queries,) * 3,
    *(KeyHistory.is_answered,) * 2,
    *(KeyHistory.others_write,) * 2,
    *(KeyHistory.pulls,) * 2,
    *(KeyHistory.hears,) * 3,
    KeyHistory.expires,
    KeyHistory.expires,
    KeyHistory.repeats,
    KeyHistory.claims,
    KeyHistory.withdraws,
    KeyHistory.requeues,
    KeyHistory.loses_the_ledger,
    KeyHistory.is_erased,
)
"""What may happen, each as often as it stands here."""
