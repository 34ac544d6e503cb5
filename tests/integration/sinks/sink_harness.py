"""A ledger, İYS's twin and the sinks, put together as the worker does, one step at a time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from izin.consent.admission import RefusedEvent, admit
from izin.consent.model import Consent, ConsentEvent, ConsentKey, DecisionKind
from izin.consent.ordering import decide
from izin.iys import CallClass, Pacer, Slot
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader, Read
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ledger import brands, offsets
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.unit_of_work import lock
from izin.sinks.outbound.batch_results import BatchResultPoller
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.recover import SubmissionRecovery
from izin.sinks.outbound.schedule import Scheduler
from izin.sinks.outbound.send import Sender
from izin.sinks.outbound.status_query import StatusQuerier
from izin.sinks.record.brand import Brand
from izin.sinks.record.row import ConsentRow
from tests.support.builders import BRAND, CUSTOMER, a_decision_record, a_key, an_event

IYS_CODE = 100001
USERNAME = "ada@example.com"
PASSWORD = "not-a-password"
RESULT_DELAY = timedelta(seconds=300)
A_SECOND = timedelta(seconds=1)
ACTIVE = Brand(
    brand_code=BRAND,
    iys_code=IYS_CODE,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)
TOPIC = "consent-decisions"


def recently(minutes: int = 5) -> datetime:
    """Return an instant that is surely past for İYS, in whole seconds."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).replace(microsecond=0)


def a_phone(number: int) -> str:
    """Return an obviously fake mobile number."""
    return f"+9055500{number:05d}"


class Clock:
    """The real time, and whatever a test has had pass beside it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Return the instant that it is in the house."""
        return datetime.now(UTC) + self.ahead

    def seconds_ahead(self) -> float:
        """Return what a test has had pass, in seconds."""
        return self.ahead.total_seconds()


class Turns:
    """The ledger's pacer; a test may have something happen while a call waits for its turn."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.classes: list[CallClass] = []

    async def wait(self, call_class: CallClass, operation: str) -> Slot:
        """Return when a call may leave, after what happens meanwhile, once."""
        slot = await self._pacer.wait(call_class, operation)
        self.classes.append(call_class)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return slot

    async def until(self, slot: Slot) -> None:
        """Return when a slot has come."""
        await self._pacer.until(slot)

    def is_over(self, slot: Slot) -> bool:
        """Whether a slot may no longer be used."""
        return self._pacer.is_over(slot)

    def left(self, slot: Slot) -> Slot:
        """Note that a call is on its way."""
        return self._pacer.left(slot)

    def arrived(self, slot: Slot) -> None:
        """Note that a call has arrived."""
        self._pacer.arrived(slot)

    def answered(self, operation: str, code: str, *, failed: bool) -> None:
        """Note what came of a call."""
        self._pacer.answered(operation, code, failed=failed)

    async def throttled(self) -> None:
        """Slow everybody down."""
        await self._pacer.throttled()


class Twin:
    """Sets the simulator up, plays the citizen and makes the weather."""

    def __init__(self, admin: httpx.Client) -> None:
        self._admin = admin

    def order(self, what: str, **fields: object) -> dict[str, Any]:
        """Post an order; fail if the simulator does not follow it."""
        answer = self._admin.post(f"/{what}", json=fields)
        assert answer.is_success, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def weather(self, operation: str, **fault: object) -> None:
        """Let a fault befall the next call of an operation."""
        self.order("faults", operation=operation, **fault)

    def citizen(self, status: str, recipient: str, **more: object) -> None:
        """Let a citizen change a consent at İYS."""
        movement = {
            "brandCode": BRAND,
            "type": "MESAJ",
            "recipient": recipient,
            "status": status,
            **more,
        }
        self.order("citizen", movements=[movement])

    def register(self) -> dict[str, str]:
        """Return what İYS holds, recipient to status."""
        lines = self._admin.get("/register").text.splitlines()
        return {row["recipient"]: row["status"] for row in map(json.loads, lines)}

    def movements(self, recipient: str) -> list[dict[str, Any]]:
        """Return what İYS saved of a recipient, in order."""
        lines = self._admin.get("/movements").text.splitlines()
        return [row for row in map(json.loads, lines) if row["recipient"] == recipient]

    def calls(self, operation: str) -> int:
        """Return how often an operation was called."""
        told: Any = self._admin.get("/requests").json()
        return int(told["operations"].get(operation, {}).get("total", 0))


@dataclass(kw_only=True)
class House:
    """The sinks over one ledger."""

    tools: Tools
    codec: Codec
    twin: Twin
    settings: Any
    clock: Clock
    turns: Turns
    unforeseen: list[str]
    """The codes of what İYS found wrong in a field and we did not."""
    states: dict[str, Consent] = field(default_factory=dict)
    offset: int = 0

    def passes(self, time: timedelta, *, at_iys: bool = True) -> None:
        """Have time pass here, and at İYS unless it is late."""
        self.clock.ahead += time
        if at_iys:
            self.twin.order("clock", advance=time.total_seconds())

    def results_are_due(self) -> None:
        """Have so much time pass that batches are processed and may be asked about."""
        self.passes(RESULT_DELAY + timedelta(seconds=1))

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.tools.ledger

    @property
    def sender(self) -> Sender:
        """Tells submissions."""
        return Sender(tools=self.tools, result_delay=RESULT_DELAY)

    @property
    def querier(self) -> StatusQuerier:
        """Asks İYS."""
        return StatusQuerier(tools=self.tools)

    @property
    def scheduler(self) -> Scheduler:
        """Tells what is owed, after whatever was told a second ago."""
        self.passes(A_SECOND)
        return Scheduler(
            tools=self.tools, sender=self.sender, querier=self.querier, batch_size=1000
        )

    @property
    def poller(self) -> BatchResultPoller:
        """Asks for results."""
        return BatchResultPoller(tools=self.tools, result_delay=RESULT_DELAY)

    def recovery(self, after: timedelta = RESULT_DELAY * 2) -> SubmissionRecovery:
        """Take up what is unanswered, after so long a time."""
        self.passes(after)
        return SubmissionRecovery(tools=self.tools, sender=self.sender, result_delay=RESULT_DELAY)

    @property
    def ingester(self) -> Ingester:
        """Reads decisions."""
        return Ingester(
            ledger=self.ledger,
            topic_messages=self.tools.topic_messages,
            codec=self.codec,
            settings=self.settings,
            clock=self.tools.clock,
            wait=timedelta(seconds=0.2),
        )

    def decided(self, *events: ConsentEvent) -> list[Read]:
        """Return the decisions of the law on ``events``, as the order stage writes them."""
        reads = []
        for event in events:
            claim = admit(event, appended_at=self.clock())
            assert not isinstance(claim, RefusedEvent), claim.violations
            decision = decide(self.states.get(str(claim.key)), claim)
            self.states[str(claim.key)] = decision.consent
            if decision.kind is DecisionKind.DUPLICATE:
                continue
            record = a_decision_record(decision, offset=self.offset)
            reads.append(DecisionReader(self.codec).read(self.codec.encode("Decision", record)))
            self.offset += 1
        return reads

    async def ingest(self, *events: ConsentEvent) -> list[Read]:
        """Have ``events`` decided and ingested; return the decisions."""
        before = self.offset
        reads = self.decided(*events)
        await offsets.positions(self.ledger, TOPIC, [0], cluster_id="cluster", topic_id="topic")
        await self.ingester.keep(TOPIC, "topic", reads, {0: (before, self.offset)})
        return reads

    async def entry(self, recipient: str = "+905550000001") -> ConsentRow:
        """Return the row of a recipient."""
        key = a_key(recipient=recipient)
        async with self.ledger.transaction() as connection:
            return (await lock(connection, [str(key)]))[str(key)]

    async def outcomes(self, recipient: str | None = None) -> list[str]:
        """Return the outcomes told so far, in order."""
        rows = await self.ledger.fetch(
            "SELECT key, value FROM outbox WHERE topic LIKE %(topic)s ORDER BY id",
            {"topic": "%consent-outcomes"},
        )
        told = [self.codec.decode("Outcome", row["value"]) for row in rows]
        return [
            one["outcome"] for one in told if recipient is None or one["recipient"] == recipient
        ]

    async def permissions(self, recipient: str) -> list[bool]:
        """Return the permissions told of a recipient so far, in order."""
        rows = await self.ledger.fetch(
            "SELECT value FROM outbox WHERE topic LIKE %(topic)s ORDER BY id",
            {"topic": "%permissions"},
        )
        told = [self.codec.decode("Permission", row["value"]) for row in rows]
        return [one["may_send"] for one in told if one["recipient"] == recipient]

    async def published(self) -> list[dict[str, Any]]:
        """Return the consent events that wait to be published, in order."""
        rows = await self.ledger.fetch(
            "SELECT value FROM outbox WHERE topic LIKE %(topic)s ORDER BY id",
            {"topic": "%consent-events%"},
        )
        return [self.codec.decode("ConsentEvent", row["value"]) for row in rows]

    async def brand(self, brand: Brand = ACTIVE) -> Brand:
        """Have a brand known to the ledger."""
        return await brands.upsert(
            self.ledger, self.tools.topic_messages, brand, now=self.tools.clock()
        )

    async def brand_in_loading(self) -> None:
        """Have the ledger take the brand as not yet activated, so that it offers old consents."""
        await self.ledger.fetch("UPDATE brands SET activated_at = NULL RETURNING brand_code")

    async def told_onay(self, recipient: str) -> None:
        """Have an ONAY of ``recipient`` registered at İYS, by batch."""
        event = onay(recipient, minutes=60)
        await self.ingest(event)
        assert await self.scheduler.bulk()
        self.results_are_due()
        assert await self.poller.settle()
        assert (await self.entry(recipient)).state == "accepted"


def onay(recipient: str, *, minutes: int = 10, **more: object) -> ConsentEvent:
    """Return an ONAY given some minutes ago."""
    at = recently(minutes)
    return an_event(
        event_id=f"onay-{recipient}-{minutes}",
        recipient=recipient,
        consent_date=at,
        received_at=at + timedelta(seconds=2),
        **more,
    )


def ret(recipient: str, *, minutes: int = 5, **more: object) -> ConsentEvent:
    """Return a RET given some minutes ago."""
    at = recently(minutes)
    fields: dict[str, object] = {
        "event_id": f"ret-{recipient}-{minutes}",
        "status": "RET",
        "recipient": recipient,
        "consent_date": at,
        "received_at": at + timedelta(seconds=2),
    }
    return an_event(**fields | more)


async def until(true: Callable[[], Any], *, within: float = 20) -> None:
    """Return when ``true()`` holds (or what it awaits); fail after ``within`` seconds."""
    async with asyncio.timeout(within):
        while True:
            held = true()
            if await held if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.02)


def key_of(recipient: str) -> ConsentKey:
    """Return the key of a recipient's text messages."""
    return a_key(recipient=recipient)
