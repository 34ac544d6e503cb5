"""A gate over a state in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest

from izin.gate.metrics import GateMetrics
from izin.gate.server import GateEndpoint
from izin.gate.server import routes_of as gate_routes
from izin.kafka.tables.api_keys import ApiKeyDirectory
from izin.runtime.http_server.problems import public_app
from izin.runtime.settings import GateSettings
from izin.schemas.api_keys import Scope
from izin.schemas.may_send_api import PATH
from tests.support.api_keys import AUTHORIZATION, an_api_key, known
from tests.support.builders import BRAND, PHONE
from tests.unit.gate.fakes import CODEC, LATER, FakeReceipts, FakeState

SENDER = an_api_key(name="campaigns", scopes=frozenset({Scope.ASK.value}))


def a_question(**overrides: object) -> dict[str, object]:
    """Return a question about one recipient."""
    return {"brand_code": BRAND, "type": "MESAJ", "recipients": [PHONE]} | overrides


@dataclass
class Api:
    """What a test changes, and the client."""

    client: httpx.AsyncClient
    state: FakeState
    receipts: FakeReceipts
    gate: GateEndpoint
    now: list[datetime]
    loaded: list[bool]

    async def ask(self, **overrides: object) -> httpx.Response:
        """Ask a question."""
        return await self.client.post(PATH, json=a_question(**overrides))

    async def answer(self, **overrides: object) -> dict[str, Any]:
        """Return the answer to a question."""
        response = await self.ask(**overrides)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def said(self, **overrides: object) -> tuple[bool, str]:
        """Return the verdict on one recipient."""
        (one,) = (await self.answer(**overrides))["verdicts"]
        return one["may_send"], one["reason"]

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a metric."""
        return self.gate.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def serving(keys: ApiKeyDirectory | None = None, **settings: object) -> AsyncIterator[Api]:
    """Serve a gate to whoever has a key of ``keys``."""
    state, receipts, now, loaded = FakeState(), FakeReceipts(), [LATER], [True]
    given = GateSettings.model_validate(settings)
    gate = GateEndpoint(
        state=state,  # type: ignore[arg-type]
        is_loaded=lambda: loaded[0],
        keys=keys or known(SENDER),
        receipts=receipts,  # type: ignore[arg-type]
        codec=CODEC,
        settings=given,
        metrics=GateMetrics(state, given, lambda: now[0]),  # type: ignore[arg-type]
        clock=lambda: now[0],
        chance=bytes,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(public_app(gate_routes(gate), state.faults)),
        base_url="http://gate",
        headers=AUTHORIZATION,
    ) as client:
        yield Api(client, state, receipts, gate, now, loaded)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Serve a gate to a sender."""
    async with serving() as one:
        yield one
