"""A directory with one brand, a publisher without a broker, a fixed clock."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import httpx
import pytest

from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.intake.server import Intake
from izin.producers.intake.server import routes_of as intake_routes
from izin.runtime.http_server.problems import public_app
from tests.support.api_keys import AUTHORIZATION, an_api_key, known
from tests.support.builders import BRAND, CUSTOMER, NOON
from tests.unit.producers.fakes import FakePublisher, FakeReceipts

NOW = NOON + timedelta(hours=1)


@pytest.fixture
def clock() -> Callable[[], datetime]:
    return lambda: NOW


@pytest.fixture
def directory() -> BrandDirectory:
    return BrandDirectory(
        [RegisteredBrand(brand_code=BRAND, iys_code=200001, customer_id=CUSTOMER, name="Example")]
    )


@pytest.fixture
def fake(clock: Callable[[], datetime]) -> FakePublisher:
    return FakePublisher(clock)


@pytest.fixture
async def client(
    fake: FakePublisher, directory: BrandDirectory, clock: Callable[[], datetime]
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an intake that publishes to `fake`; an error of the intake is a 500."""
    receipts = FakeReceipts([], clock)
    intake = Intake(fake, directory, receipts, known(an_api_key()), clock=clock, chance=bytes)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(
            public_app(intake_routes(intake), dict), raise_app_exceptions=False
        ),
        base_url="http://intake",
        headers=AUTHORIZATION,
    ) as client:
        yield client
