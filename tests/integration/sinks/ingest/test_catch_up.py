"""A ledger restored to an earlier moment: what it published and submitted since is not published
or submitted again, and nothing that was withdrawn since is given in between.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from confluent_kafka import Message
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from izin.kafka.bounded_reader import read_all
from izin.ledger import offsets
from izin.ledger.db import Ledger
from izin.ledger.history import RESTORED, verify
from izin.ledger.record import Anchor
from izin.local import free_port
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.catch_up import RELEASED
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, acts, onay, ret, until
from tests.integration.sinks.test_worker import a_worker, publish
from tests.support.builders import PHONE
from tests.support.order.verdict import committed_records
from tests.support.servers.distribution import copy_database, drop_database
from tests.support.simulator import SimulatorAdmin

pytestmark = [pytest.mark.database, pytest.mark.broker]
SECOND = a_phone(2)
SETTLED = """SELECT FROM consents AS c WHERE state IN ('accepted', 'not_needed')
    HAVING count(*) = %(keys)s AND NOT EXISTS (SELECT FROM outbox)"""

PUT_BACK = """INSERT INTO outbox (customer_id, topic, key, value, headers, occurred_at)
    VALUES ('acme', %(topic)s, %(key)s, %(value)s, %(headers)s, now()) RETURNING id"""


def permissions(settings: KafkaSettings, recipient: str) -> list[bool]:
    """Return whether each record of a recipient permits, in their order."""
    found = read_all(settings, Codec(), settings.topics.permissions)
    return [one.value["may_send"] for one in found if one.value["recipient"] == recipient]


def anchors_of(settings: KafkaSettings) -> list[Anchor]:
    """Return what was anchored in Kafka, before the backup and after it."""
    return [
        Anchor.from_avro(one.value) for one in read_all(settings, Codec(), settings.topics.anchors)
    ]


@asynccontextmanager
async def backup(url: str, postgres: str) -> AsyncIterator[LedgerSettings]:
    """Copy a ledger as it is now; yield what leads to the copy."""
    name = str(conninfo_to_dict(url)["dbname"])
    ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as connection:
        await connection.execute(ends, (name,))
    copied = f"{name}_backup"
    yield LedgerSettings(database_url=SecretStr(copy_database(postgres, copied, name)))
    drop_database(postgres, copied)


@asynccontextmanager
async def waiting(ledger: Ledger, message: Message) -> AsyncIterator[None]:
    """Put a message into the outbox, as if it had not been relayed at the moment of the backup."""
    headers = {name: value.decode() for name, value in message.headers() or ()}
    values = {
        "topic": message.topic(),
        "key": (message.key() or b"").decode(),
        "value": message.value(),
        "headers": json.dumps(headers),
    }
    await ledger.fetch(PUT_BACK, values)
    yield


async def test_restored_ledger_repeats_nothing(  # noqa: PLR0917  # fixtures
    harness: SinkHarness,
    ledger_settings: LedgerSettings,
    postgres: str,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
    iys: SimulatorAdmin,
):
    """One opted out and one opted in since: the first never has a permission again, the second once
    İYS was asked.
    """
    quick = iys_settings.model_copy(update={"result_delay": timedelta(seconds=0.3)})
    iys.post("settings", resultDelay=0.2)
    # The harness has published its brand to a topic without this test's prefix.
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")

    async def is_settled(settings: LedgerSettings, keys: int) -> bool:
        async with Ledger(settings, owner=1) as ledger:
            return bool(await ledger.fetch(SETTLED, {"keys": keys}))

    async with a_worker(kafka_settings, ledger_settings, quick, operations_port=free_port()):
        publish(kafka_settings, *harness.decided(onay()))
        await until(lambda: is_settled(ledger_settings, 1))
    url = ledger_settings.database_url.get_secret_value()
    *_, permitted = committed_records(kafka_settings, kafka_settings.topics.permissions.name)
    async with backup(url, postgres) as restored:
        async with a_worker(kafka_settings, ledger_settings, quick, operations_port=free_port()):
            publish(kafka_settings, *harness.decided(ret(), onay(SECOND)))
            await until(lambda: is_settled(ledger_settings, 2))
        async with a_worker(kafka_settings, ledger_settings, quick, operations_port=free_port()):
            # A worker anchors as it starts, so this anchors what the backup lacks.
            await until(lambda: is_settled(ledger_settings, 2))
        assert iys.register() == {PHONE: "RET", SECOND: "ONAY"}
        before = {one: permissions(kafka_settings, one) for one in (PHONE, SECOND)}
        assert [before[one][-1] for one in (PHONE, SECOND)] == [False, True]
        async with (
            Ledger(restored, owner=2) as ledger,
            waiting(ledger, permitted),
            a_worker(kafka_settings, restored, quick, operations_port=free_port()),
        ):
            await until(lambda: acts(ledger, RELEASED))
            await until(lambda: is_settled(restored, 2))
            assert await offsets.held(ledger) is None
            (act,) = await acts(ledger, RESTORED)
            before_it, after_it = (sum(act[one]["offsets"].values()) for one in ("before", "after"))
            assert after_it - before_it >= 2
        assert {one: iys.movements(one) for one in (PHONE, SECOND)} == {
            PHONE: ["ONAY", "RET"],
            SECOND: ["ONAY"],
        }
        async with a_worker(kafka_settings, restored, quick, operations_port=free_port()):
            await until(lambda: is_settled(restored, 2))
        since = {one: permissions(kafka_settings, one)[len(before[one]) :] for one in before}
        assert True not in since[PHONE]
        assert since[SECOND] == [False, True]
        anchors = anchors_of(kafka_settings)
        async with Ledger(restored, owner=3) as ledger:
            assert (await verify.verify(ledger, anchors)).faults == ()
            known = await verify.anchors_after(ledger, 0)
        assert {one.id for one in anchors} - {one.id for one in known}
        assert len({one.id for one in anchors}) == len(anchors)
