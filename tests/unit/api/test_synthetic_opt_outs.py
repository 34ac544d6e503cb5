"""What goes wrong on the way of a synthetic opt-out is an outcome, and ends nothing."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from izin.api.synthetic_opt_outs import FAILED, LATE, SyntheticOptOuts
from izin.runtime.settings import ApiSettings
from tests.support.builders import NOON


def probe_of(**more: Any) -> tuple[SyntheticOptOuts, CollectorRegistry]:  # noqa: ANN401  # settings
    """Return what publishes, and the registry that shows it."""
    registry = CollectorRegistry()
    settings = ApiSettings.model_validate(more)
    within = timedelta(seconds=0.05)
    return SyntheticOptOuts(settings, registry, clock=lambda: NOON, within=within), registry


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, text="no JSON"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
    ],
)
async def test_answer_that_is_none_is_a_failure(answer: httpx.Response):
    """An endpoint that is away, or another one at its address."""
    probe, registry = probe_of()
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        assert await probe.once(client) == FAILED
    name = "izin_synthetic_opt_outs_total"
    assert registry.get_sample_value(name, {"outcome": "failed"}) == 1


async def test_first_one_may_come_before_its_key_is_known():
    """Only from the second one on does a failure blame the endpoints."""
    probe, _ = probe_of()
    answer = httpx.Response(401)
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        with capture_logs() as lines:
            assert [await probe.once(client) for _ in range(3)] == [FAILED] * 3
    first, failed = "synthetic opt-out not taken yet", "synthetic opt-out failed"
    assert [one["event"] for one in lines] == [first, failed, failed]


async def test_address_that_is_none_is_a_failure():
    """A setting that is wrong does not end the API."""
    probe, _ = probe_of(IZIN_SYNTHETIC_FEEDS="http://[")
    async with probe.client() as client:
        assert await probe.once(client) == FAILED


async def test_opt_out_that_does_not_arrive_is_late():
    """It is not the arrival of another one."""
    probe, registry = probe_of()
    began = registry.get_sample_value("izin_synthetic_opt_out_arrived_timestamp_seconds")
    page = httpx.Response(200, json={"next": "x", "items": [{"recipient": "another"}]})
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: page)) as client:
        assert await probe.once(client) == LATE
    name = "izin_synthetic_opt_out_arrived_timestamp_seconds"
    assert registry.get_sample_value(name) == began
