"""A migrated ledger, the twin with a brand, and the sinks over both."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from izin.iys import IysClient, Pace, TokenAuth
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.codec import Codec
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.outbound.context import Tools
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.messages import TopicMessages
from tests.integration.sinks.sink_harness import (
    IYS_CODE,
    PASSWORD,
    USERNAME,
    Clock,
    House,
    Turns,
    Twin,
)
from tests.support.builders import BRAND


@pytest.fixture
def twin(simulator: str) -> Iterator[Twin]:
    """Give the simulator, emptied, with one account and one brand, and no limit of calls."""
    with httpx.Client(base_url=f"{simulator}/__simulator__", trust_env=False) as admin:
        twin = Twin(admin)
        twin.order("reset", everything=True)
        twin.order(
            "settings",
            requestsPerSecond=0,
            tokenLimit=0,
            statusLimit=1000,
            resultDelay=300,
            hiddenWindow=0,
            pushHttpsRequired=False,
        )
        twin.order("accounts", username=USERNAME, password=PASSWORD, iysCode=IYS_CODE)
        twin.order(
            "brands",
            brandCode=BRAND,
            iysCode=IYS_CODE,
            name="Örnek",
            activatedAt="2020-01-01 00:00:00",
        )
        yield twin


@pytest.fixture
def iys_settings(simulator: str) -> IysSettings:
    """Give settings that lead to the simulator."""
    return IysSettings(
        base_url=simulator,
        username=USERNAME,
        password=SecretStr(PASSWORD),
        timeout=timedelta(seconds=5),
        requests_per_second=500,
    )


@pytest.fixture
async def ledger_settings(database_url: str) -> LedgerSettings:
    """Give settings that lead to a migrated ledger."""
    await migrate(database_url)
    return LedgerSettings(database_url=SecretStr(database_url))


@pytest.fixture
async def ledger(ledger_settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """Give an empty ledger."""
    async with Ledger(ledger_settings, owner=secrets.randbelow(2**31 - 1) + 1) as ledger:
        yield ledger


@pytest.fixture
async def house(ledger: Ledger, twin: Twin, iys_settings: IysSettings) -> AsyncIterator[House]:
    """Give the sinks over an empty ledger and an empty İYS, with the brand known to both."""
    settings = KafkaSettings(topic_prefix="", partitions=1)
    codec = Codec()
    clock = Clock()
    pacer = LedgerPacer(ledger, Pace(rate=500), address="test")
    await pacer.begin()
    auth = TokenAuth(
        iys_settings, LedgerTokenStore(ledger=ledger, account=USERNAME, address="test")
    )
    turns = Turns(pacer)
    unforeseen: list[str] = []
    # What rests, rests until a test has time pass.
    async with IysClient(iys_settings, auth=auth, pacer=turns, clock=clock.seconds_ahead) as client:
        tools = Tools(
            ledger=ledger,
            client=client,
            topic_messages=TopicMessages(codec, settings.topics),
            clock=clock,
            pacer=pacer,
            lease_owner=LeaseOwner(
                owner=ledger.owner, lease=timedelta(seconds=60), call_within=timedelta(seconds=5)
            ),
            unforeseen=unforeseen.append,
        )
        house = House(
            tools=tools,
            codec=codec,
            twin=twin,
            settings=settings,
            clock=clock,
            turns=turns,
            unforeseen=unforeseen,
        )
        await house.brand()
        yield house


@pytest.fixture
def kafka_settings(kafka: str, topic_prefix: str) -> KafkaSettings:
    """Give a Kafka with this test's topics."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2)
    ensure_topics(settings)
    return settings
