"""Our push receiver at İYS keeps working when its credentials change.

``izin iys push``: who is pushed to, and how a place is taken and freed.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from structlog.typing import EventDict

from izin.consent import Channel
from izin.iys.wire_format import PushConnection
from izin.ledger import brands
from izin.local import free_port
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound.push import (
    AcceptedCredentials,
    BrandCache,
    Credentials,
    PushReceiver,
    PushRegistrations,
)
from izin.sinks.inbound.push_connections import PushConnections, PushRegistrar
from izin.sinks.monitor.metrics import Metrics
from izin.sinks.worker import serve_pushes
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    InMemoryTopic,
    Izin,
    SinkHarness,
    a_phone,
    acts,
    ended,
    set_environment,
    until,
)
from tests.support.builders import BRAND
from tests.support.simulator import PASSWORD, USERNAME

pytestmark = pytest.mark.database
DAY = timedelta(days=1)
OUR_PASSWORD = "our-fake-password"


def url_of(port: int) -> str:
    """Return the URL of the receiver on a port."""
    return f"http://127.0.0.1:{port}/iys/push"


class Worker:
    """The push receiver and the registrar of one process, with a password."""

    def __init__(self, harness: SinkHarness, port: int, password: str) -> None:
        credentials = Credentials(username="iys", password=SecretStr(password))
        brands = BrandCache(harness.ledger)
        self.port, self.operations_port = port, free_port()
        self.topic = InMemoryTopic()
        self.metrics = Metrics()
        self.connections = PushConnections(
            client=harness.context.client,
            registrations=PushRegistrations(ledger=harness.ledger, url=url_of(port)),
            credentials=credentials,
            clock=harness.clock,
        )
        self.registrar = PushRegistrar(
            context=harness.context, brands=brands, connections=self.connections, only=None
        )
        self.receiver = PushReceiver(
            credentials=AcceptedCredentials(credentials, harness.ledger, clock=harness.clock),
            brands=brands,
            publisher=self.topic,  # type: ignore[arg-type]  # keeps what it would publish
            topic_messages=harness.context.topic_messages,
            clock=harness.clock,
            count=self.metrics.pushed.inc,
            count_refused=lambda reason: self.metrics.push_unauthorized.labels(reason).inc(),
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Receive pushes."""
        stopping = asyncio.Event()
        sink = SinkSettings(port=self.port, operations_port=self.operations_port)
        with closing(HttpListeners(sink, server="the sink", variables="IZIN_SINK")) as bound:
            serving = serve_pushes(
                bound,
                self.receiver,
                self.metrics.registry,
                faults=dict,
                failing=dict,
                proxies="127.0.0.1",
                stopping=stopping,
            )
            running = asyncio.create_task(serving)
            try:
                yield
            finally:
                stopping.set()
                await running

    def connection(self, channel: Channel) -> PushConnection:
        """Return its connection for a channel."""
        credentials = self.connections.credentials
        return PushConnection(
            url=url_of(self.port),
            type=channel,
            username=credentials.username,
            password=credentials.password,
        )

    async def register(self, channel: Channel) -> None:
        """Register it for a channel of our brand, as a team would that has no ledger of ours."""
        await self.connections.client.register_push(ACTIVE.path, [self.connection(channel)])

    async def push(self, password: str) -> int:
        """Push nothing with a password, and return the status."""
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.post(url_of(self.port), json={"list": []}, auth=("iys", password))
        return reply.status_code

    def refused(self, reason: str) -> float | None:
        """Return how many pushes it counted as refused."""
        name, labels = "izin_push_unauthorized_total", {"reason": reason}
        return self.metrics.registry.get_sample_value(name, labels)


async def test_changed_password_is_registered_anew(harness: SinkHarness):
    """İYS pushes with the new one then; a restart with the same one registers nothing."""
    port = free_port()
    before = Worker(harness, port, "old-fake-password")
    async with before.serving():
        await before.registrar.register_due()
        assert before.topic.messages == [], "İYS's test payload is acknowledged, and not published"
        harness.iys.citizen("RET", a_phone(1))
        await until(lambda: before.topic.messages)
    registered = harness.iys.calls("pushRegister")
    after = Worker(harness, port, "new-fake-password")
    async with after.serving():
        await after.registrar.register_due()
        harness.iys.citizen("RET", a_phone(2))
        await until(lambda: after.topic.messages)
        assert harness.iys.calls("pushRegister") == registered + 3
        await Worker(harness, port, "new-fake-password").registrar.register_due()
        assert harness.iys.calls("pushRegister") == registered + 3


async def test_old_and_new_password_are_accepted_meanwhile(harness: SinkHarness):
    """By processes with either; the old one for a day after İYS has the new one."""
    port = free_port()
    old = Worker(harness, port, "old-fake-password")
    async with old.serving():
        await old.registrar.register_due()
        new = Worker(harness, port, "new-fake-password")
        harness.iys.inject_fault("pushRegister", status=503, times=1)
        await new.registrar.register_due()
        assert await old.push("new-fake-password") == 200
        harness.advance(DAY + timedelta(minutes=1))
        assert await old.push("old-fake-password") == 200, "İYS has it for one channel still"
        await new.registrar.register_due()
        assert harness.iys.calls("pushRegister") == 7
    async with new.serving():
        assert await new.push("old-fake-password") == 200
        assert await new.push("no-password-of-ours") == 401
        harness.advance(DAY + timedelta(minutes=1))
        assert await new.push("new-fake-password") == 200
        assert await new.push("old-fake-password") == 401


async def test_password_is_nowhere_in_the_ledger(harness: SinkHarness):
    """Only what proves it, with a salt."""
    worker = Worker(harness, free_port(), "old-fake-password")
    async with worker.serving():
        await worker.registrar.register_due()
    (row,) = await harness.ledger.fetch("SELECT * FROM push_registrations")
    text = repr(row) + repr([bytes(one) for one in row.values() if isinstance(one, bytes)])
    for secret in ("old-fake-password", base64.b64encode(b"iys:old-fake-password").decode()):
        assert secret not in text


async def test_pushes_with_a_wrong_password_are_counted_and_alerted(harness: SinkHarness):
    """Once an hour, however many they are; without any, they are İYS's own tests."""
    worker = Worker(harness, free_port(), "fake-password")
    with capture_logs() as logs:
        async with worker.serving():
            for _ in range(5):
                assert await worker.push("no-password-of-ours") == 401
            async with httpx.AsyncClient(trust_env=False) as client:
                url = url_of(worker.port)
                assert (await client.post(url, json={"list": []})).status_code == 401
            harness.advance(timedelta(hours=2))
            assert await worker.push("no-password-of-ours") == 401
    assert (worker.refused("wrong"), worker.refused("missing")) == (6, 1)
    alerts = [one for one in logs if one["log_level"] == "critical"]
    assert [(one["event"], one["pushes"]) for one in alerts] == [
        ("pushes refused", 1),
        ("pushes refused", 5),
    ]
    assert "remedy" in alerts[0]


async def test_channel_that_others_have_costs_no_other_channel(
    harness: SinkHarness, logged: list[EventDict]
):
    """Two older receivers have one of its channels: the others are registered, and it is said."""
    older = [Worker(harness, free_port(), f"fake-password-{number}") for number in range(2)]
    ours = Worker(harness, free_port(), "our-fake-password")
    async with older[0].serving(), older[1].serving(), ours.serving():
        for one in older:
            await one.register(Channel.MESAJ)
        before = harness.iys.calls("pushRegister")
        await ours.registrar.register_due()
        await ours.registrar.register_due()
        assert harness.iys.calls("pushRegister") == before + 2
    (alert,) = [one for one in logged if one["log_level"] == "critical"]
    assert (alert["event"], alert["channel"]) == ("push connections full", "MESAJ")
    for one in older:
        assert url_of(one.port) in alert["remedy"]


async def test_connection_that_iys_lost_is_registered_again(harness: SinkHarness):
    """Pull brings what was not pushed meanwhile; nothing is called while İYS shows it."""
    worker = Worker(harness, free_port(), "fake-password")
    async with worker.serving():
        await worker.registrar.register_due()
        harness.advance(timedelta(hours=7))
        await worker.registrar.register_due()
        assert harness.iys.calls("pushRegister") == 3
        brand = await harness.brand()
        (state, *_) = await worker.connections.of(brand)
        await harness.context.client.unregister_push(brand.path, worker.connection(state.channel))
        harness.advance(timedelta(hours=7))
        await worker.registrar.register_due()
        assert harness.iys.calls("pushRegister") == 4


async def test_registration_that_iys_refuses_says_what_to_do(
    harness: SinkHarness, logged: list[EventDict]
):
    """İYS's support must have enabled push, or nobody needs do anything; not again at once."""
    worker = Worker(harness, free_port(), "fake-password")
    for status, code in ((400, "H530"), (400, "H530"), (500, "H412")):
        harness.iys.inject_fault("pushRegister", status=status, code=code)
    for _ in range(2):
        await worker.registrar.register_due()
    found = [one for one in logged if one["event"] == "push registration failed"]
    assert [one["channel"] for one in found] == [str(one) for one in Channel]
    assert [one["log_level"] for one in found] == ["critical", "critical", "warning"]
    assert ["support" in one["remedy"] for one in found] == [True, True, False]


def our_receiver(harness: SinkHarness, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Return our receiver; the settings name it, and the simulator."""
    worker = Worker(harness, free_port(), OUR_PASSWORD)
    given = {
        "IYS_BASE_URL": harness.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
        "IZIN_PUSH_URL": url_of(worker.port),
        "IZIN_PUSH_USERNAME": "iys",
        "IZIN_PUSH_PASSWORD": OUR_PASSWORD,
        "IZIN_ACTOR": "ada",
    }
    set_environment(monkeypatch, given)
    return worker


@pytest.fixture
def ours(harness: SinkHarness, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Give our receiver, which the settings name."""
    return our_receiver(harness, monkeypatch)


@pytest.fixture
def izin(izin: Izin, ours: Worker) -> Izin:
    """Give the function that runs a command, once the settings name our receiver."""
    return izin


async def registered_by_worker(ours: Worker, harness: SinkHarness) -> None:
    """Have the worker register each channel that has room, as it does by itself."""
    (brand,) = [one for one in await brands.every(harness.ledger) if one.brand_code == BRAND]
    for state in await ours.connections.of(brand):
        if not (state.is_established or state.is_full):
            await ours.connections.register(brand, state)


async def test_status_shows_what_a_worker_has_registered(
    izin: Izin, ours: Worker, harness: SinkHarness
):
    """Before, each channel needs it; afterwards nothing is to be done."""
    async with ours.serving():
        shown = ended(await izin("iys", "push", "status", BRAND, "--output", "json"), 1)
        rows = json.loads(shown.stdout)
        assert [(row["type"], row["status"], row["ours"]) for row in rows] == [
            (str(one), "none", True) for one in Channel
        ]
        assert "a sink worker registers it" in rows[0]["remedy"]
        await registered_by_worker(ours, harness)
        assert (await izin("iys", "push", "status", BRAND)).exit_code == 0


async def test_place_is_freed_only_with_its_own_password(
    izin: Izin, ours: Worker, harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Two older receivers have a channel: they are shown, and one makes room."""
    older = [Worker(harness, free_port(), f"fake-password-{number}") for number in range(2)]
    async with older[0].serving(), older[1].serving(), ours.serving():
        for one in older:
            await one.register(Channel.MESAJ)
        shown = await izin("iys", "push", "status", BRAND, "--output", "json")
        remedies = [row["remedy"] for row in json.loads(shown.stdout) if row["type"] == "MESAJ"]
        assert f"izin iys push unregister {BRAND} --type MESAJ" in remedies[0]
        words_of_freeing = (
            *("iys", "push", "unregister", BRAND, "--type=MESAJ"),
            *("--url", url_of(older[0].port), "--username", "iys"),
        )
        assert (await izin(*words_of_freeing)).exit_code == 0
        assert harness.iys.calls("pushUnregister") == 0
        monkeypatch.setenv("IZIN_PUSH_OLD_PASSWORD", "wrong")
        ended(await izin(*words_of_freeing, "--execute"), 3, "API Destek Platformu")
        monkeypatch.setenv("IZIN_PUSH_OLD_PASSWORD", "fake-password-0")
        assert (await izin(*words_of_freeing, "--execute")).exit_code == 0
        assert (await izin(*words_of_freeing, "--execute")).exit_code == 3
        await registered_by_worker(ours, harness)
        status = await izin("iys", "push", "status", BRAND, "--output", "json")
    urls = {row["url"] for row in json.loads(status.stdout) if row["type"] == "MESAJ"}
    assert urls == {url_of(ours.port), url_of(older[1].port)}
    assert [one["act"] for one in await acts(harness.ledger, "%push%")] == ["unregister push"]


async def test_push_status_without_a_receiver_names_the_setting(
    izin: Izin, monkeypatch: pytest.MonkeyPatch
):
    """There is no receiver here: each channel says which settings it needs."""
    monkeypatch.delenv("IZIN_PUSH_URL")
    shown = ended(await izin("iys", "push", "status", BRAND, "--output", "json"), 1)
    assert all("IZIN_PUSH_URL" in row["remedy"] for row in json.loads(shown.stdout))
