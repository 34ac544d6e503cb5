"""An installation of a few recipients, whose sides agree."""

from collections.abc import AsyncIterator

import pytest

from izin.runtime.settings import IysSettings, KafkaSettings
from izin.sinks.ledger.db.connection import Ledger
from tests.integration.sinks.conftest import (  # noqa: F401  # fixtures of the sinks
    clock,
    database_url,
    iys,
    iys_settings,
    izin,
    kafka_settings,
    ledger,
    ledger_settings,
)
from tests.integration.sinks.sink_harness import Clock, a_phone, sinks_over
from tests.support.reconcile.planting import PLANTS
from tests.support.reconcile.site import Site
from tests.support.simulator import SimulatorAdmin

EACH = 2
"""Recipients of each plant."""


@pytest.fixture
async def site(
    ledger: Ledger,  # noqa: F811  # fixtures
    iys: SimulatorAdmin,  # noqa: F811  # the same
    iys_settings: IysSettings,  # noqa: F811  # the same
    clock: Clock,  # noqa: F811  # the same
    kafka_settings: KafkaSettings,  # noqa: F811  # the same
) -> AsyncIterator[Site]:
    """Give an installation in which consents stand everywhere, and some opted out."""
    async with sinks_over(ledger, iys, iys_settings, clock, kafka_settings) as harness:
        site = Site(harness=harness, kafka=kafka_settings)
        count = EACH * len(PLANTS) + 4
        await site.fill(
            [a_phone(one) for one in range(count)], [a_phone(one) for one in range(900, 904)]
        )
        yield site
