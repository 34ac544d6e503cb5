"""The sinks over a ledger and the İYS simulator, put together as the worker does, step by step."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from click.testing import Result

from izin.consent import Calendar, Consent, ConsentEvent, DecisionKind, RefusedEvent, admit, decide
from izin.iys.client import IysClient
from izin.iys.exchange import TOKEN
from izin.iys.rate_limit import CallClass, HourLimit, Pace, Slot
from izin.iys.tokens import TokenAuth
from izin.iys.wire_format import Stream
from izin.ledger import brands, offsets, reads, suspensions
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.db import Ledger, leases
from izin.ledger.rate_limits import HOUR_LIMITS, LedgerPacer
from izin.ledger.record import Brand, ConsentRow, LeaseOwner, Message, Suspension, TopicMessages
from izin.ledger.unit_of_work import lock
from izin.runtime.settings import IysSettings, KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.movements import Puller
from izin.sinks.inbound.sweep import Sweeper
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.monitor.alerts import DeadlineMonitor
from izin.sinks.outbound.context import OutboundContext, RequestBudget
from izin.sinks.outbound.recover import SubmissionRecovery
from izin.sinks.outbound.schedule import Scheduler
from izin.sinks.outbound.send import BatchResultPoller, Sender
from izin.sinks.outbound.status_query import StatusQuerier, SweptQuerier
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    PHONE,
    a_decision_record,
    a_key,
    a_phone,
    an_event,
)
from tests.support.registration import register_brand
from tests.support.simulator import IYS_CODE, USERNAME, SimulatorAdmin

RESULT_DELAY = timedelta(seconds=300)
A_SECOND = timedelta(seconds=1)
A_MINUTE = timedelta(minutes=1)
HIDDEN = timedelta(hours=1)
"""How recent movements are that İYS's pull is said to hide."""
ACTIVE = Brand(
    brand_code=BRAND,
    iys_code=IYS_CODE,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)
TOPIC = "consent-decisions"
OTHER = "7"
"""The number of another process."""

Izin = Callable[..., Awaitable[Result]]
"""Runs a command of the console."""


def ended(done: Result, code: int, *words: str) -> Result:
    """Assert how a command ended, and that its messages have ``words``; return it."""
    messages = " ".join(done.stderr.replace("│", " ").split())
    assert (done.exit_code, [one for one in words if one not in messages]) == (code, []), (
        done.output
    )
    return done


def set_environment(monkeypatch: pytest.MonkeyPatch, given: Mapping[str, str]) -> None:
    """Put what is ``given`` into the environment; of a schema registry nothing is known there."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)


def kafka_environment(settings: KafkaSettings) -> dict[str, str]:
    """Return the variables that lead to the topics of ``settings``."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": str(settings.partitions),
    }


async def acts(ledger: Ledger, what: str = "%", *, key: str = "%") -> list[dict[str, Any]]:
    """Return the acts of the history that match, in order."""
    rows = await ledger.fetch(
        "SELECT data FROM history WHERE kind = 'act' AND data ->> 'act' LIKE %(what)s"
        " AND key LIKE %(key)s ORDER BY recorded_at, place",
        {"what": what, "key": key},
    )
    return [row["data"] for row in rows]


class Clock:
    """The real time, and as much as a test has advanced it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Return the instant on the clock of the sinks."""
        return datetime.now(UTC) + self.ahead

    def seconds_ahead(self) -> float:
        """Return how far a test has advanced the clock, in seconds."""
        return self.ahead.total_seconds()


class InterruptiblePacer(LedgerPacer):
    """The ledger's pacer; a test may have something happen while a call waits for its slot."""

    def __init__(
        self,
        ledger: Ledger,
        pace: Pace,
        *,
        address: str,
        hour_limits: Mapping[str, HourLimit] = HOUR_LIMITS,
    ) -> None:
        super().__init__(ledger, pace, address=address, hour_limits=hour_limits)
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.at_slot: Callable[[], Awaitable[object]] | None = None
        """What happens between the check of a call and its slot, once."""
        self.classes: list[CallClass] = []
        """Of the calls that got a slot in time."""
        self._operation, self._granted = TOKEN, 0

    async def wait(self, call_class: CallClass, operation: str) -> Slot:
        """Return the slot of a call, after what happens meanwhile, once."""
        slot = await super().wait(call_class, operation)
        self.classes.append(call_class)
        self._operation, self._granted = operation, slot.number
        if operation != TOKEN:
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                await meanwhile()
        return slot

    def is_over(self, slot: Slot) -> bool:
        """As the ledger's, by real time: a busy machine waits for another slot."""
        is_over = super().is_over(slot)
        if is_over and slot.number == self._granted:
            self.classes.pop()
        return is_over

    async def until(self, slot: Slot) -> None:
        """Wait for the slot of a call, after what happens there, once."""
        if self._operation != TOKEN:
            at_slot, self.at_slot = self.at_slot, None
            if at_slot is not None:
                await at_slot()
        await super().until(slot)


@dataclass
class InMemoryTopic:
    """A publisher that acknowledges every message and keeps it."""

    messages: list[Message] = field(default_factory=list)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Keep messages."""
        self.messages += messages


@dataclass(kw_only=True)
class SinkHarness:
    """The sinks over one ledger and one simulator, whose brand both know."""

    context: OutboundContext
    codec: Codec
    iys: SimulatorAdmin
    settings: KafkaSettings
    clock: Clock
    pacer: InterruptiblePacer
    unforeseen: list[str]
    """The codes of field errors that İYS found and admission did not."""
    states: dict[str, Consent] = field(default_factory=dict)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    """What pulls could not read."""
    offset: int = 0

    def advance(self, time: timedelta, *, at_iys: bool = True) -> None:
        """Advance the clock of the sinks, and İYS's unless it is late."""
        self.clock.ahead += time
        if at_iys:
            self.iys.advance(time.total_seconds())

    def citizen(
        self, status: str, recipient: str = PHONE, *, then: timedelta, **more: object
    ) -> None:
        """Have a citizen opt in or out at İYS, and let some time pass ``then``."""
        self.iys.citizen(status, recipient, **more)
        self.advance(then)

    def start_second(self) -> None:
        """Advance the clocks to the beginning of a second."""
        self.advance(A_SECOND - timedelta(microseconds=self.clock().microsecond))

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.context.ledger

    @property
    def sender(self) -> Sender:
        """The sender of submissions."""
        return Sender(context=self.context)

    @property
    def querier(self) -> StatusQuerier:
        """What queries the status of recipients."""
        return StatusQuerier(context=self.context)

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of submissions, a second after whatever was submitted."""
        self.advance(A_SECOND)
        return Scheduler(
            context=self.context, sender=self.sender, querier=self.querier, batch_size=1000
        )

    @property
    def poller(self) -> BatchResultPoller:
        """The poller of batch results."""
        return BatchResultPoller(context=self.context)

    @property
    def monitor(self) -> DeadlineMonitor:
        """A new monitor of deadlines."""
        return DeadlineMonitor(ledger=self.ledger, clock=self.clock, interval=A_MINUTE)

    @property
    def ingester(self) -> Ingester:
        """The ingester of decisions."""
        return Ingester(
            ledger=self.ledger,
            topic_messages=self.context.topic_messages,
            codec=self.codec,
            settings=self.settings,
            clock=self.context.clock,
            wait=timedelta(seconds=0.2),
        )

    def puller(self, topic: InMemoryTopic, *, interval: timedelta = timedelta(0)) -> Puller:
        """Return a puller that publishes to ``topic``."""
        return Puller(
            context=self.context,
            publisher=topic,  # type: ignore[arg-type]  # keeps what it would publish
            interval=interval,
            hidden=HIDDEN,
            requests_per_second=100,
        )

    def become(self, **fields: str | None) -> None:
        """Let these sinks be those of another process, or of an account, behind an address."""
        owner = replace(self.context.lease_owner, **fields)
        self.context = replace(self.context, lease_owner=owner)

    def other_worker(self) -> SubmissionRecovery:
        """Return the recovery of another process."""
        context = replace(self.context, lease_owner=replace(self.context.lease_owner, owner=OTHER))
        return SubmissionRecovery(context=context, sender=replace(self.sender, context=context))

    def set_silence(self, *, is_silent: bool) -> None:
        """Have had no answer from İYS for long, and perhaps a call that failed since."""
        breakers = self.context.client.breakers
        breakers._answered_at, breakers.is_silent = -inf, is_silent

    @asynccontextmanager
    async def living(self, owner: str = OTHER) -> AsyncIterator[None]:
        """Have the process ``owner`` live."""
        async with self.ledger.session() as connection:
            await leases.enter(connection, owner)
            yield
            # The server notices the end of a session a moment later.
            await connection.execute("SELECT pg_advisory_unlock_all()")

    async def opt_out(self) -> bool:
        """Submit what the opt-out lane has due."""
        return bool(await self.scheduler.opt_out())

    async def bulk(self) -> bool:
        """Submit what the bulk lane has due."""
        return bool(await self.scheduler.bulk())

    async def query(self) -> bool:
        """Query the status of what is to be queried."""
        return bool(await self.querier.query_due())

    async def sweep(self) -> bool:
        """Run the open sweep."""
        budget = RequestBudget(1000, clock=time.monotonic)
        return await Sweeper(context=self.context, budget=budget, every=None).sweep()

    @property
    def swept_querier(self) -> SweptQuerier:
        """What queries the records alone that a sweep could not settle."""
        return SweptQuerier(context=self.context, querier=self.querier)

    async def settle(self) -> bool:
        """Poll batch results once İYS has processed what was submitted."""
        self.advance(RESULT_DELAY + A_SECOND)
        return bool(await self.poller.settle())

    async def recover(self, after: timedelta = RESULT_DELAY * 2) -> bool:
        """Recover submissions without a reply, after so long a time."""
        self.advance(after)
        return bool(await self.recovery.recover())

    @property
    def recovery(self) -> SubmissionRecovery:
        """The recovery of submissions without a reply."""
        return SubmissionRecovery(context=self.context, sender=self.sender)

    async def recover_now(self) -> bool:
        """Recover submissions whose process has died."""
        return await self.recover(timedelta(0))

    async def run(
        self, *steps: Callable[[], Awaitable[object]], times: int, every: timedelta
    ) -> None:
        """Take ``steps`` repeatedly, each time after ``every``."""
        for _ in range(times):
            self.advance(every)
            for step in steps:
                await step()

    async def drain(self, *steps: Callable[[], Awaitable[object]]) -> None:
        """Take the first of ``steps`` that has something to do, until none has."""
        while await self._take_first(steps):
            pass

    async def _take_first(self, steps: Iterable[Callable[[], Awaitable[object]]]) -> bool:
        for step in steps:
            if await step():
                return True
        return False

    def decided(self, *events: ConsentEvent) -> list[IncomingDecision]:
        """Return the decisions on ``events``, as the order stage writes them."""
        reads = []
        for event in events:
            admitted = admit(event, appended_at=self.clock())
            assert not isinstance(admitted, RefusedEvent), admitted.violations
            decision = decide(self.states.get(str(admitted.key)), admitted)
            self.states[str(admitted.key)] = decision.consent
            if decision.kind is DecisionKind.DUPLICATE:
                continue
            record = a_decision_record(decision, offset=self.offset)
            reads.append(DecisionReader(self.codec).read(self.codec.encode("Decision", record)))
            self.offset += 1
        return reads

    async def ingest(self, *events: ConsentEvent) -> list[IncomingDecision]:
        """Ingest the decisions on ``events``, and return them."""
        before = self.offset
        reads = self.decided(*events)
        await offsets.positions(self.ledger, TOPIC, [0], cluster_id="cluster", topic_id="topic")
        await self.ingester.store(TOPIC, "topic", reads, {0: (before, self.offset)})
        return reads

    async def ingest_again(self, *events: ConsentEvent) -> None:
        """Ingest ``events`` as decided by an order stage that has lost what stood."""
        self.states.clear()
        await self.ingest(*events)

    async def submit_bulk(self, *events: ConsentEvent) -> None:
        """Ingest the decisions on ``events``, and submit what the bulk lane has due."""
        await self.ingest(*events)
        assert await self.bulk()

    async def submit_opt_out(self, *events: ConsentEvent) -> None:
        """Ingest the decisions on ``events``, and submit what the opt-out lane has due."""
        await self.ingest(*events)
        assert await self.opt_out()

    async def settle_bulk(self) -> None:
        """Submit what the bulk lane has due, and poll its results once İYS has processed it."""
        assert await self.bulk()
        assert await self.settle()

    async def ingest_for(
        self, event: Callable[[str], ConsentEvent], numbers: Iterable[int]
    ) -> list[str]:
        """Ingest an ``event`` of each recipient with these numbers; return the recipients."""
        recipients = [a_phone(number) for number in numbers]
        await self.ingest(*map(event, recipients))
        return recipients

    async def ingest_each(self, events: Iterable[ConsentEvent]) -> None:
        """Ingest the decisions on ``events`` one by one."""
        for event in events:
            await self.ingest(event)

    async def pull(self, *streams: Stream) -> list[ConsentEvent]:
        """Pull streams, two seconds later; return the events that are published."""
        self.advance(A_SECOND * 2)  # İYS shows what is a second old
        topic = InMemoryTopic()
        puller, brand = self.puller(topic), await self.brand()
        for stream in streams or tuple(Stream):
            while await puller.pull_page(brand, stream):
                pass
        lost = self.settings.topics.dead_letters.name
        self.dead_letters += [
            self.codec.decode("DeadLetter", one.value)
            for one in topic.messages
            if one.topic == lost
        ]
        return [
            event_from_avro(self.codec.decode("ConsentEvent", one.value))
            for one in topic.messages
            if one.topic != lost
        ]

    async def pull_and_ingest(self, *streams: Stream) -> None:
        """Pull streams, and ingest the decisions on what they bring."""
        await self.ingest_each(await self.pull(*streams))

    async def row(self, recipient: str = PHONE) -> ConsentRow:
        """Return the row of a recipient."""
        key = str(a_key(recipient=recipient))
        async with self.ledger.transaction() as connection:
            return (await lock(connection, [key]))[key]

    async def columns(self, *names: str, recipient: str = PHONE) -> tuple[Any, ...]:
        """Return these columns of a recipient's row."""
        row = await self.row(recipient)
        return tuple(getattr(row, name) for name in names)

    async def desired(self) -> dict[str, str]:
        """Return the desired status of each recipient that has a row."""
        rows = await self.ledger.fetch("SELECT recipient, desired_status FROM consents")
        return {row["recipient"]: row["desired_status"] for row in rows}

    async def until_desired(self, expected: Mapping[str, str]) -> None:
        """Wait until these recipients have rows, each with this desired status, and nobody else."""

        async def is_desired() -> bool:
            return await self.desired() == expected

        await until(is_desired)

    async def states_of(self, recipients: Iterable[str]) -> list[str]:
        """Return the states of recipients' rows, in order."""
        return [(await self.row(one)).state for one in recipients]

    async def set_columns(self, **values: object) -> None:
        """Write columns of every row, as no code of the sinks does."""
        changes = ", ".join(f"{name} = %({name})s" for name in values)
        await self.ledger.fetch(f"UPDATE consents SET {changes} RETURNING key", values)

    async def outbox(self, topic: str, schema: str) -> list[dict[str, Any]]:
        """Return the records in the outbox for topics that match ``topic``, in order."""
        rows = await self.ledger.fetch(
            "SELECT value FROM outbox WHERE topic LIKE %(topic)s ORDER BY id", {"topic": topic}
        )
        return [self.codec.decode(schema, row["value"]) for row in rows]

    async def is_settled(self) -> bool:
        """Return whether nothing is due or on its way any more."""
        return (await reads.lag(self.ledger, now=self.clock())).is_settled

    async def outcomes(self) -> list[str]:
        """Return the outcomes in the outbox, in order."""
        return [one["outcome"] for one in await self.outbox("%consent-outcomes", "Outcome")]

    async def permissions(self, recipient: str = PHONE) -> list[bool]:
        """Return the permissions of a recipient in the outbox, in order."""
        found = await self.outbox("%permissions", "Permission")
        return [one["may_send"] for one in found if one["recipient"] == recipient]

    async def published(self) -> list[ConsentEvent]:
        """Return the consent events in the outbox, in order."""
        found = await self.outbox("%consent-events%", "ConsentEvent")
        return [event_from_avro(one) for one in found]

    async def brand(self, brand: Brand = ACTIVE) -> Brand:
        """Add or change a brand."""
        return await register_brand(
            self.ledger, self.context.topic_messages, brand, now=self.context.clock()
        )

    async def requeue(self, *reasons: str) -> int:
        """Requeue the records of our brand that are parked for ``reasons``; return how many."""
        messages, done = self.context.topic_messages, 0
        for reason in reasons:
            shown = await reads.parked_keys(self.ledger, BRAND, reason)
            order = {"reason": reason, "whole": True, "by": "ada", "now": self.clock()}
            done += await brands.requeue(self.ledger, messages, BRAND, shown, **order)
        return done

    async def suspensions(self) -> tuple[Suspension, ...]:
        """Return what is suspended."""
        return await suspensions.every(self.ledger)

    async def suspend(
        self,
        code: str,
        channel: str = "*",
        status: str = "*",
        **more: Any,  # noqa: ANN401 - the fields of a suspension
    ) -> None:
        """Suspend records of our brand, as for a reply of İYS with ``code``."""
        scope: dict[str, Any] = {
            "account": "ada",
            "channel": channel,
            "status": status,
            "now": self.clock(),
        }
        async with self.ledger.transaction() as connection:
            await suspensions.suspend(connection, ACTIVE, code=code, reason="", **scope | more)

    async def resume(self, channel: str, status: str) -> None:
        """Resume records of our brand, as if İYS had taken one of them."""
        async with self.ledger.transaction() as connection:
            await suspensions.resume(connection, BRAND, channel, status, account="ada")

    async def set_rights(self, channels: Collection[Any]) -> None:
        """Let a person say which channels our brand may write."""
        await suspensions.set_rights(self.ledger, BRAND, channels, by="ada", now=self.clock())

    async def brand_in_loading(self) -> None:
        """Make our brand one that is not activated."""
        await self.ledger.fetch("UPDATE brands SET activated_at = NULL RETURNING brand_code")

    def close_days(self, count: int, *, ago: int = 0) -> None:
        """Close so many days from tomorrow on, or from some days ago: no term ends within them."""
        first = self.clock().date() + timedelta(days=1 - ago)
        days = frozenset(first + timedelta(days=number) for number in range(count))
        self.ledger.calendar = Calendar(extra_closed_days=days)

    async def forget(self) -> None:
        """Empty the ledger but for its brands, as a new one is that knows nothing of a key."""
        async with self.ledger.transaction() as connection:
            for table in ("submission_items", "submissions", "consents", "outbox", "kafka_offsets"):
                await connection.execute(f"DELETE FROM {table}")
        self.states.clear()
        self.offset = 0

    async def register(self, *events: ConsentEvent) -> None:
        """Register opt-ins at İYS by batch."""
        await self.ingest(*events)
        await self.settle_bulk()
        assert set(await self.states_of(one.recipient for one in events)) == {"accepted"}

    async def register_onay(self, recipient: str = PHONE) -> None:
        """Register an opt-in of an hour ago at İYS, by batch."""
        await self.register(onay(recipient, minutes=60))

    async def ingest_opt_out(self, *others: ConsentEvent) -> None:
        """Ingest the opt-out of a recipient whose opt-in is registered, and ``others``."""
        await self.register_onay()
        await self.ingest(ret(PHONE), *others)

    async def lose_opt_out(self, drop: str = "before") -> None:
        """Submit the opt-out of a registered recipient by a call that gets no reply."""
        await self.ingest_opt_out()
        await self.meet_fault("addV2", self.opt_out, drop=drop)
        assert (await self.row()).state == "unknown"

    async def meet_fault(
        self, operation: str, step: Callable[[], Awaitable[bool]], **fault: object
    ) -> None:
        """Take a step whose call of ``operation`` meets a fault of İYS."""
        self.iys.inject_fault(operation, **fault)
        assert await step()

    async def lose_batch(self, *events: ConsentEvent, drop: str = "before") -> None:
        """Ingest the decisions on ``events``, and submit what is due in bulk by a call that gets
        no reply.
        """
        if events:
            await self.ingest(*events)
        await self.meet_fault("batchV2", self.bulk, drop=drop)

    async def lose_batch_of(self, count: int, drop: str = "before") -> list[str]:
        """Submit so many opt-ins by a call that gets no reply; return the recipients."""
        recipients = await self.ingest_for(onay, range(count))
        await self.lose_batch(drop=drop)
        return recipients

    async def refuse_opt_out(self, status: int, code: str, *others: ConsentEvent) -> None:
        """Submit the opt-out of a registered recipient, which İYS refuses."""
        await self.ingest_opt_out(*others)
        await self.meet_fault("addV2", self.opt_out, status=status, code=code)


@asynccontextmanager
async def sinks_over(
    ledger: Ledger,
    iys: SimulatorAdmin,
    iys_settings: IysSettings,
    clock: Clock,
    kafka: KafkaSettings,
    *,
    hour_limits: Mapping[str, HourLimit] = HOUR_LIMITS,
) -> AsyncIterator[SinkHarness]:
    """Provide the sinks over a ledger and a simulator, with the brand known to both."""
    codec = Codec()
    pacer = InterruptiblePacer(ledger, Pace(rate=500), address="test", hour_limits=hour_limits)
    await pacer.begin()
    store = LedgerTokenStore(ledger=ledger, account=USERNAME, address="test")
    auth = TokenAuth(iys_settings, store)
    unforeseen: list[str] = []
    # A circuit that is open stays open until a test advances the clock.
    async with IysClient(iys_settings, auth=auth, pacer=pacer, clock=clock.seconds_ahead) as client:
        context = OutboundContext(
            ledger=ledger,
            client=client,
            topic_messages=TopicMessages(codec, kafka.topics),
            clock=clock,
            pacer=pacer,
            lease_owner=LeaseOwner(
                owner=ledger.owner, lease=timedelta(seconds=60), call_within=timedelta(seconds=5)
            ),
            result_delay=RESULT_DELAY,
            unforeseen=unforeseen.append,
        )
        harness = SinkHarness(
            context=context,
            codec=codec,
            iys=iys,
            settings=kafka,
            clock=clock,
            pacer=pacer,
            unforeseen=unforeseen,
        )
        await harness.brand()
        yield harness


class Killed(BaseException):
    """The end of a process."""


async def die() -> None:
    """End the process."""
    raise Killed


def minutes_ago(minutes: int = 5) -> datetime:
    """Return an instant that is certainly past at İYS, in whole seconds."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0)


def onay(recipient: str = PHONE, *, minutes: int = 10, **more: object) -> ConsentEvent:
    """Return an opt-in given some minutes ago."""
    return _given("ONAY", recipient, minutes, more)


def ret(recipient: str = PHONE, *, minutes: int = 5, **more: object) -> ConsentEvent:
    """Return an opt-out given some minutes ago."""
    return _given("RET", recipient, minutes, more)


def _given(status: str, recipient: str, minutes: int, more: dict[str, object]) -> ConsentEvent:
    at = minutes_ago(minutes)
    fields: dict[str, object] = {
        "event_id": f"{status.lower()}-{recipient}-{minutes}",
        "status": status,
        "recipient": recipient,
        "consent_date": at,
        "received_at": at + timedelta(seconds=2),
    }
    return an_event(**fields | more)


def given_at(at: datetime, **more: object) -> ConsentEvent:
    """Return an opt-in given and received at ``at``."""
    fields: dict[str, object] = {"event_id": "fresh", "consent_date": at, "received_at": at}
    return an_event(**fields | more)


async def until(true: Callable[[], Any], *, within: float = 60) -> None:
    """Return when ``true()`` holds (or what it awaits); fail after ``within`` seconds."""
    async with asyncio.timeout(within):
        while True:
            held = true()
            if await held if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.02)
