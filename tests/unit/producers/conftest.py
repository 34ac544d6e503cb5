"""A directory with one brand, a publisher without a broker, a fixed clock."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from izin.producers.brand_directory import BrandDirectory, RegisteredBrand
from tests.support.builders import BRAND, CUSTOMER, NOON
from tests.unit.producers.fakes import FakePublisher

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
