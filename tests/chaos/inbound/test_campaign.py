"""A short campaign on real servers; the long one is ``make chaos STAGE=inbound``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from tests.chaos.inbound.campaign import InboundCampaign
from tests.chaos.inbound.faults import InboundFault
from tests.support.simulator import running_simulator

OF_SERVERS = {InboundFault.BROKER, InboundFault.DATABASE}
"""These need servers of their own."""


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.timeout(240)
async def test_movements_under_faults_stand_once_in_the_history(
    make_settings: Callable[[int], KafkaSettings], database_url: str, tmp_path: Path
):
    """Whatever was lost, doubled and reordered; and the ledger has what İYS has."""
    with running_simulator(tmp_path) as simulator:
        campaign = InboundCampaign(
            settings=make_settings(2),
            database_url=database_url,
            simulator=simulator,
            folder=tmp_path,
            citizens=30,
            rate=20,
            pause=(0.1, 0.2),
            hold=(0.5, 1.0),
        )
        found = await campaign.run(8)
    assert (found.missing, found.double, found.differing, found.failed) == ([], [], [], [])
    assert found.movements > 10
    assert set(campaign.injected) == set(InboundFault) - OF_SERVERS
