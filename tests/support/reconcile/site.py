"""An installation whose sides agree: topics, order stage, ledger and simulator, step by step."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from pydantic import SecretStr

from izin.consent import ConsentEvent
from izin.iys.rate_limit import HourLimit
from izin.iys.wire_format import IysMovement, JsonReader, Stream
from izin.iys.wire_format.json_reader import to_turkish
from izin.kafka import clients
from izin.ledger import reads
from izin.ledger.db import Ledger, Notifications
from izin.ledger.db.migrate import migrate
from izin.ledger.rate_limits import HOUR_LIMITS
from izin.reconcile.comparing import Asker, Comparer, Difference, ReconcileScope
from izin.reconcile.judging import Kind, SaidBy
from izin.reconcile.repairs import RepairExecution
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.records import event_to_avro
from izin.schemas.topics import Topic
from izin.sinks.inbound.movements import ReportedMovements
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.context import RequestBudget
from izin.sinks.publish.publisher import OutboxReader, OutboxRelay
from izin.streams.outputs import suppression_row
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    Clock,
    InMemoryTopic,
    SinkHarness,
    onay,
    ret,
    sinks_over,
)
from tests.support.builders import a_key, usual
from tests.support.order.harness import decide_all
from tests.support.replay.dead_letters import ingest_all
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin

SECRET = "a fake secret of at least forty characters"
"""Under which keys are suppressed."""
_ROUNDS = 40
_UNLIMITED = 100_000


@asynccontextmanager
async def sinks_on(
    database_url: str, iys: SimulatorAdmin, kafka: KafkaSettings, **limits: HourLimit
) -> AsyncIterator[SinkHarness]:
    """Provide the sinks of a campaign over a new ledger and an empty simulator, neither of which
    limits them; ``limits`` are of calls in an hour, by name.
    """
    await migrate(database_url)
    iys.configure(requestsPerSecond=0, tokenLimit=0, statusLimit=0, resultDelay=300, hiddenWindow=0)
    settings = IysSettings(
        base_url=iys.address,
        username=USERNAME,
        password=SecretStr(PASSWORD),
        requests_per_second=500,
    )
    ledger_settings = LedgerSettings(database_url=SecretStr(database_url))
    async with (
        Ledger(ledger_settings, owner=1) as ledger,
        sinks_over(
            ledger, iys, settings, Clock(), kafka, hour_limits={**HOUR_LIMITS, **limits}
        ) as harness,
    ):
        yield harness


@dataclass(kw_only=True)
class Site:
    """The sinks over topics of their own, with an order stage in this process."""

    harness: SinkHarness
    kafka: KafkaSettings
    recipients: list[str] = field(default_factory=list)
    """Those with an opt-in that İYS has."""

    def __post_init__(self) -> None:
        self.writer = clients.producer(self.kafka)
        self.relay = OutboxRelay(
            ledger=self.harness.ledger,
            settings=self.kafka,
            notifications=Notifications(),
            clock=self.harness.clock,
            wait=A_SECOND,
        )

    async def fill(self, recipients: Sequence[str], opted_out: Sequence[str]) -> None:
        """Have consents registered at İYS, and some opt-outs that İYS need not know."""
        await self.publish(
            *(onay(one, minutes=60) for one in recipients),
            *(ret(one, minutes=50) for one in opted_out),
        )
        self.recipients = list(recipients)
        await self.work()
        await self.harness.pull()
        await self.relay_all()

    async def publish(self, *events: ConsentEvent) -> None:
        """Publish events to the bulk lane, and have them decided and ingested."""
        for event in events:
            key = a_key(brand_code=event.brand_code, recipient=event.recipient)
            value = self.harness.codec.encode("ConsentEvent", event_to_avro(event))
            self.writer.produce(self.kafka.topics.events.name, key=key.encode(), value=value)
        assert self.writer.flush(20) == 0
        await self.decide()

    def write(self, topic: Topic, key: str, value: bytes | None) -> None:
        """Write a record to a topic, as nobody but a test does."""
        self.writer.produce(topic.name, key=key.encode(), value=value)
        assert self.writer.flush(20) == 0

    def suppress(self, key: str) -> None:
        """Suppress what was given of a key until now, as its erasure does."""
        name, topic = SuppressionKeys([SECRET]).of(key.encode()), self.kafka.topics.desired_consents
        value = suppression_row(self.harness.codec, self.harness.clock(), "erasure")
        self.write(topic, name.decode(), value)

    async def decide(self) -> None:
        """Have what the lanes have decided, and the decisions ingested."""
        await asyncio.to_thread(decide_all, self.kafka)
        await ingest_all(self.harness.ledger, self.kafka)

    async def relay_all(self) -> bool:
        """Publish what the outbox has; return whether there were events among it."""
        topics = self.kafka.topics
        lanes = [topics.events.name, topics.express.name]
        query = "SELECT count(*) AS waiting, bool_or(topic = ANY(%(lanes)s)) AS events FROM outbox"
        (found,) = await self.harness.ledger.fetch(query, {"lanes": lanes})
        if found["waiting"]:
            client, reader = await self.relay.open(), OutboxReader()
            while await self.relay.deliver(client, reader):
                pass
        return bool(found["events"])

    async def work(self) -> None:
        """Let order stage and sinks work until nothing is left to be done."""
        harness = self.harness
        for _ in range(_ROUNDS):
            harness.advance(timedelta(minutes=1))
            if await self.relay_all():
                await self.decide()
            while await harness.opt_out():
                pass
            while await harness.query():
                pass
            while await harness.bulk():
                pass
            left = await reads.lag(harness.ledger, now=harness.clock())
            if left.awaiting_result:
                await harness.settle()
            elif left.is_settled:
                return
        raise AssertionError(f"unsettled: {await reads.lag(harness.ledger, now=harness.clock())}")

    @property
    def comparer(self) -> Comparer:
        """What compares this installation."""
        harness = self.harness
        return Comparer(
            ledger=harness.ledger, kafka=self.kafka, codec=harness.codec, clock=harness.clock
        )

    @property
    def asker(self) -> Asker:
        """What asks the simulator."""
        pages = PageQuery(
            client=self.harness.context.client,
            clock=self.harness.clock,
            budget=RequestBudget(500, clock=monotonic),
        )
        return Asker(pages=pages, single=_UNLIMITED)

    @property
    def execution(self) -> RepairExecution:
        """What executes repairs here."""
        harness = self.harness
        return RepairExecution(
            ledger=harness.ledger,
            kafka=self.kafka,
            codec=harness.codec,
            secrets=SuppressionKeys([SECRET]),
            clock=harness.clock,
        )

    async def compare(self, *, ask: bool = True) -> list[Difference]:
        """Return the differences of the brand, a moment later."""
        self.harness.advance(A_SECOND * 2)
        scope = ReconcileScope(brand=ACTIVE)
        async with self.comparer.comparing(scope, self.asker if ask else None) as comparison:
            return [one async for one in comparison.differences()]


Found = frozenset[tuple[Kind, SaidBy]]
Plant = Callable[[Site, str], Awaitable[None]]

_HOUR = timedelta(hours=1)


WRONG_PERMISSION = Kind.STATUS, SaidBy.PERMISSIONS
"""Of a row that permits another thing than was published."""


def found(kind: Kind, side: SaidBy, *more: tuple[Kind, SaidBy]) -> Found:
    """Return one kind on one side, and more of them."""
    return frozenset({(kind, side), *more})


async def set_columns(site: Site, recipient: str, **columns: object) -> None:
    """Write columns of a row."""
    changes = ", ".join(f"{name} = %({name})s" for name in columns)
    rows = await site.harness.ledger.fetch(
        f"UPDATE consents SET {changes} WHERE key = %(key)s RETURNING key",
        {**columns, "key": key_of(recipient)},
    )
    assert rows


def key_of(recipient: str) -> str:
    """Return the canonical key of a recipient."""
    return str(a_key(recipient=recipient))


async def consent_of(site: Site, recipient: str, **changes: object) -> bytes:
    """Return a record of ``desired-consents`` as its row says, with ``changes``."""
    row = await site.harness.row(recipient)
    return site.harness.codec.encode(
        "Consent",
        usual(
            changes,
            customer_id=row.customer_id,
            brand_code=row.brand_code,
            type=row.channel,
            recipient_type=row.recipient_type,
            recipient=recipient,
            status=row.desired_status,
            previous_status=None,
            effective_at=row.desired_at,
            origin_rank=row.desired_rank,
            event_id=row.desired_event_id,
            origin=row.desired_origin,
            source=row.desired_source,
            consent_date=row.desired_consent_date,
            registrable=True,
            latest_onay_at=row.latest_onay_at,
            latest_ret_at=row.latest_ret_at,
            law_version=2,
        ),
    )


async def write_consent(site: Site, recipient: str, **changes: object) -> None:
    """Write that record."""
    value = await consent_of(site, recipient, **changes)
    site.write(site.kafka.topics.desired_consents, key_of(recipient), value)


async def write_permission(site: Site, recipient: str, **changes: object) -> None:
    """Write a record of ``permissions`` as its row says, with ``changes``."""
    row, harness = await site.harness.row(recipient), site.harness
    message = harness.context.topic_messages.permission_of(row, harness.clock(), previous=None)
    assert message.value
    fields = harness.codec.decode("Permission", message.value) | changes
    value = harness.codec.encode("Permission", fields)
    site.write(site.kafka.topics.permissions, key_of(recipient), value)


async def citizen_opts_out(site: Site, recipient: str) -> None:
    """Have a citizen opt out at İYS, which no path brings."""
    site.harness.iys.citizen("RET", recipient)


async def portal_opts_out(site: Site, recipient: str) -> None:
    """Have a person opt a recipient out in İYS's portal, which no path brings."""
    at = to_turkish(site.harness.clock() - timedelta(minutes=2))
    site.harness.iys.other_writer("RET", recipient, consentDate=at, source="HS_WEB")


async def ledger_believes_opt_out(site: Site, recipient: str) -> None:
    """Have the row believe an older RET at İYS, where it holds an ONAY."""
    row = await site.harness.row(recipient)
    assert row.registered_at
    await set_columns(site, recipient, registered="RET", registered_at=row.registered_at - _HOUR)


async def other_date(site: Site, recipient: str) -> None:
    """Give the row another consent date than İYS has."""
    row = await site.harness.row(recipient)
    assert row.registered_consent_date
    await set_columns(site, recipient, registered_consent_date=row.registered_consent_date - _HOUR)


async def not_verified(site: Site, recipient: str) -> None:
    """Have nobody observed what the row says of İYS, though pulls have shown it."""
    row = await site.harness.row(recipient)
    assert row.registered_at
    at = row.registered_at - 2 * _HOUR
    await set_columns(site, recipient, verified_at=None, registered_at=at)


async def not_known(site: Site, recipient: str) -> None:
    """Have the row not know what İYS holds, while nothing is due."""
    await set_columns(site, recipient, registered="UNKNOWN", registered_at=None)


async def row_lost(site: Site, recipient: str) -> None:
    """Lose the row of a key that the topics and İYS have."""
    query = "DELETE FROM consents WHERE key = %(key)s RETURNING key"
    assert await site.harness.ledger.fetch(query, {"key": key_of(recipient)})


async def known_to_iys_alone(site: Site, recipient: str) -> None:
    """Lose everything but what İYS has shown of the key."""
    await row_lost(site, recipient)
    for topic in (site.kafka.topics.desired_consents, site.kafka.topics.permissions):
        site.write(topic, key_of(recipient), None)


async def opt_out_known_to_iys_alone(site: Site, recipient: str) -> None:
    """Lose everything but an opt-out that a pull has shown: the multiple query names none."""
    harness = site.harness
    harness.iys.citizen("RET", recipient)
    *_, row = (one for one in harness.iys.rows("movements") if one["recipient"] == recipient)
    reported = ReportedMovements(
        context=harness.context,
        publisher=InMemoryTopic(),  # type: ignore[arg-type]  # keeps what it would publish
        path="pull",
    )
    seen = await reported.publish(ACTIVE, Stream.IYS, [IysMovement.read(JsonReader(row))])
    async with harness.ledger.transaction() as connection:
        await reported.record(connection, ACTIVE, seen, now=harness.clock())
    await site.relay_all()
    await known_to_iys_alone(site, recipient)


async def newer_in_topic(site: Site, recipient: str) -> None:
    """Give the order stage a newer opt-out, which the ledger never got."""
    row = await site.harness.row(recipient)
    assert row.desired_at
    at = row.desired_at + timedelta(minutes=1)
    changes = {"status": "RET", "event_id": f"lost-{recipient}", "latest_ret_at": at}
    await write_consent(site, recipient, effective_at=at, consent_date=at, **changes)


async def older_in_topic(site: Site, recipient: str) -> None:
    """Give the order stage an older opt-in than the ledger has."""
    row = await site.harness.row(recipient)
    assert row.desired_at
    at = row.desired_at - _HOUR
    changes = {"effective_at": at, "consent_date": at, "latest_onay_at": at}
    await write_consent(site, recipient, event_id=f"old-{recipient}", **changes)


async def gone_from_topic(site: Site, recipient: str) -> None:
    """Have the order stage lose the key."""
    site.write(site.kafka.topics.desired_consents, key_of(recipient), None)


async def permission_gone(site: Site, recipient: str) -> None:
    """Have the topic of permissions lose the key."""
    site.write(site.kafka.topics.permissions, key_of(recipient), None)


async def permission_wrong(site: Site, recipient: str) -> None:
    """Have the topic say no where the row says yes."""
    await write_permission(site, recipient, may_send=False, reason="not-registered")


async def permission_of_other_retailers(site: Site, recipient: str) -> None:
    """Have the topic permit a retailer that the row does not."""
    await write_permission(site, recipient, retailers="70000001")


async def row_and_topic_deny(site: Site, recipient: str) -> None:
    """Have row and topic say no of a consent that stands everywhere."""
    await set_columns(site, recipient, may_send=False, permission_reason="opted-out")
    await write_permission(site, recipient)


async def permission_otherwise_dated(site: Site, recipient: str) -> None:
    """Have the topic say yes since another instant."""
    row = await site.harness.row(recipient)
    assert row.permission_since
    await write_permission(site, recipient, since=row.permission_since - _HOUR)


async def permission_of_nobody(site: Site, recipient: str) -> None:
    """Give the topic a permission of a recipient whom nothing else knows."""
    fields = {"recipient": f"+90555999{recipient[-4:]}"}
    row, harness = await site.harness.row(recipient), site.harness
    other = row.replace(**fields, key=key_of(fields["recipient"]))
    message = harness.context.topic_messages.permission_of(other, harness.clock(), previous=None)
    site.write(site.kafka.topics.permissions, other.key, message.value)


async def never_at_iys(site: Site, recipient: str) -> None:
    """Have ledger and topics believe in a consent that İYS never had."""
    other = f"+90555888{recipient[-4:]}"
    row, harness = await site.harness.row(recipient), site.harness
    changes = {"key": key_of(other), "recipient": other, "desired_event_id": f"never-{other}"}
    await harness.ledger.fetch(
        "INSERT INTO consents SELECT (jsonb_populate_record(c, %(changes)s::jsonb)).*"
        " FROM consents AS c WHERE key = %(key)s RETURNING key",
        {"changes": json.dumps(changes), "key": row.key},
    )
    await write_consent(site, other)
    await write_permission(site, other)


PLANTS: Mapping[str, tuple[Plant, Found]] = {
    plant.__name__: (plant, one)
    for plant, one in (
        (citizen_opts_out, found(Kind.STATUS, SaidBy.IYS)),
        (portal_opts_out, found(Kind.OTHER_WRITER, SaidBy.IYS)),
        (ledger_believes_opt_out, found(Kind.STATUS, SaidBy.IYS, WRONG_PERMISSION)),
        (other_date, found(Kind.DATE, SaidBy.IYS)),
        (not_verified, found(Kind.UNVERIFIED, SaidBy.IYS, WRONG_PERMISSION)),
        (not_known, found(Kind.UNVERIFIED, SaidBy.IYS, WRONG_PERMISSION)),
        (row_lost, found(Kind.MISSING_HERE, SaidBy.DESIRED)),
        (known_to_iys_alone, found(Kind.MISSING_HERE, SaidBy.IYS)),
        (opt_out_known_to_iys_alone, found(Kind.MISSING_HERE, SaidBy.IYS)),
        (newer_in_topic, found(Kind.STATUS, SaidBy.DESIRED)),
        (older_in_topic, found(Kind.DATE, SaidBy.DESIRED)),
        (gone_from_topic, found(Kind.MISSING_HERE, SaidBy.DESIRED)),
        (permission_gone, found(Kind.MISSING_HERE, SaidBy.PERMISSIONS)),
        (permission_wrong, found(Kind.STATUS, SaidBy.PERMISSIONS)),
        (permission_of_other_retailers, found(Kind.STATUS, SaidBy.PERMISSIONS)),
        (row_and_topic_deny, found(*WRONG_PERMISSION)),
        (permission_otherwise_dated, found(Kind.DATE, SaidBy.PERMISSIONS)),
        (permission_of_nobody, found(Kind.MISSING_HERE, SaidBy.PERMISSIONS)),
        (never_at_iys, found(Kind.MISSING_AT_IYS, SaidBy.IYS)),
    )
}
"""Every plant, and what is to be found of its key, by name."""


async def planted(site: Site, name: str, recipient: str) -> tuple[str, Found]:
    """Plant a difference; return its key, and what is to be found of it."""
    plant, one = PLANTS[name]
    await plant(site, recipient)
    return planted_key(name, recipient), one


def planted_key(plant: str, recipient: str) -> str:
    """Return the key that a plant makes differ."""
    others = {"permission_of_nobody": "+90555999", "never_at_iys": "+90555888"}
    return key_of(f"{others[plant]}{recipient[-4:]}" if plant in others else recipient)
