"""The intake under more than it can do at once: only the excess is refused, and it says so."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack

import pytest

from izin.producers.publishing.publisher import KafkaRecord
from izin.runtime.settings import KafkaSettings
from tests.integration.producers.intake_process import IntakeProcess, publish_brand_and_key
from tests.support.api_keys import API_KEY, AUTHORIZATION
from tests.support.builders import BRAND
from tests.support.http_clients import Reply, connected, request

pytestmark = pytest.mark.broker

MANY = 500
IDLE = 256


@pytest.fixture
def intake(settings: KafkaSettings) -> Iterator[IntakeProcess]:
    publish_brand_and_key(settings)
    one = IntakeProcess(settings)
    with one.running():
        yield one


async def post(intake: IntakeProcess, number: int) -> Reply:
    """Post an opt-out of the person of that number."""
    record = {
        "recipient": f"+90555{number:07}",
        "type": "MESAJ",
        "status": "RET",
        "source": "HS_WEB",
        "date_basis": "received",
        "brand_code": BRAND,
    }
    return await request(
        intake.port,
        "POST",
        "/v1/consents",
        json.dumps(record).encode(),
        {**AUTHORIZATION, "Content-Type": "application/json"},
    )


async def is_live(intake: IntakeProcess) -> bool:
    return (await request(intake.port, "GET", "/health/live")).status == 200


async def test_posts_at_once_are_accepted_or_refused_as_problems(
    intake: IntakeProcess, written: Callable[[], Sequence[KafkaRecord]]
):
    """What was accepted is in Kafka, what was not is counted and may be sent again."""
    replies, live = await asyncio.gather(
        asyncio.gather(*(post(intake, number) for number in range(MANY))), is_live(intake)
    )
    assert live
    counts = Counter(one.status for one in replies)
    assert set(counts) <= {202, 429, 503}
    assert counts[202] >= MANY // 2
    for one in replies:
        if one.status != 202:
            assert one.headers["content-type"] == "application/problem+json"
            assert int(one.headers["retry-after"]) > 0
    shed = re.findall(r'izin_http_refused_total{reason="(?:full|client)"} (\S+)', intake.metrics())
    assert sum(map(float, shed)) == MANY - counts[202]
    assert len(await asyncio.to_thread(written)) == counts[202]


async def test_idle_and_slow_connections_shut_nobody_out(intake: IntakeProcess):
    """Connections that send nothing, half a head, or half a body of a post."""
    half_a_post = (
        f"POST /v1/consents HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {API_KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n["
    )
    async with AsyncExitStack() as stack:
        for sent in ("", "POST /v1/consents HT", half_a_post):
            for _ in range(IDLE):
                one = await stack.enter_async_context(connected(intake.port, source="127.0.0.2"))
                one.writer.write(sent.encode())
            assert await is_live(intake)
            assert (await post(intake, 1)).status == 202
