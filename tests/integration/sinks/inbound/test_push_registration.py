"""Our push receiver at İYS keeps working when its credentials change."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from izin.local import free_port
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound.push import BrandCache, PushReceiver
from izin.sinks.inbound.push_credentials import AcceptedCredentials, Credentials
from izin.sinks.inbound.push_registration import PushRegistrar
from izin.sinks.monitor.metrics import Metrics
from izin.sinks.server import SinkServer, listeners
from tests.integration.sinks.sink_harness import InMemoryTopic, SinkHarness, a_phone, until

pytestmark = pytest.mark.database

DAY = timedelta(days=1)


class Worker:
    """The push receiver and the registrar of one process, with a password."""

    def __init__(self, harness: SinkHarness, port: int, password: str) -> None:
        credentials = Credentials(username="iys", password=SecretStr(password))
        brands = BrandCache(harness.ledger)
        self.port = port
        self.topic = InMemoryTopic()
        self.metrics = Metrics()
        self.registrar = PushRegistrar(
            context=harness.context,
            brands=brands,
            url=f"http://127.0.0.1:{port}/iys/push",
            credentials=credentials,
            only=None,
        )
        self.receiver = PushReceiver(
            credentials=AcceptedCredentials(credentials, harness.ledger, clock=harness.clock),
            brands=brands,
            publisher=self.topic,  # type: ignore[arg-type]  # keeps what it would publish
            topic_messages=harness.context.topic_messages,
            clock=harness.clock,
            count=self.metrics.pushed.inc,
            count_refused=self.metrics.push_unauthorized,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Receive pushes."""
        stopping = asyncio.Event()
        sink = SinkSettings(port=self.port, operations_port=free_port())
        with closing(listeners(sink)) as bound:
            server = SinkServer(
                listeners=bound,
                receiver=self.receiver,
                registry=self.metrics.registry,
                faults=dict,
                proxies="127.0.0.1",
            )
            running = asyncio.create_task(server.run(stopping))
            try:
                yield
            finally:
                stopping.set()
                await running

    async def push(self, password: str) -> int:
        """Push nothing with a password, and return the status."""
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{self.port}/iys/push"
            reply = await client.post(url, json={"list": []}, auth=("iys", password))
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
        harness.iys.citizen("RET", a_phone(1))
        await until(lambda: before.topic.messages)
    registered = harness.iys.calls("pushRegister")
    after = Worker(harness, port, "new-fake-password")
    async with after.serving():
        await after.registrar.register_due()
        harness.iys.citizen("RET", a_phone(2))
        await until(lambda: after.topic.messages)
        assert harness.iys.calls("pushRegister") == registered + 1
        restarted = Worker(harness, port, "new-fake-password")
        await restarted.registrar.register_due()
        assert harness.iys.calls("pushRegister") == registered + 1


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
        harness.advance(timedelta(minutes=1))
        await new.registrar.register_due()
        assert harness.iys.calls("pushRegister") == 3
    async with new.serving():
        assert await new.push("old-fake-password") == 200
        assert await new.push("no-password-of-ours") == 401
        harness.advance(DAY + timedelta(minutes=1))
        assert await new.push("new-fake-password") == 200
        assert await new.push("old-fake-password") == 401


async def test_password_is_nowhere_in_the_ledger(harness: SinkHarness):
    """Only what proves it, with a salt."""
    port = free_port()
    worker = Worker(harness, port, "old-fake-password")
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
                url = f"http://127.0.0.1:{worker.port}/iys/push"
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
