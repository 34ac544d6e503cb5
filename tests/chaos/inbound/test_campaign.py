"""A short campaign on real servers; the long one is ``make chaos STAGE=inbound``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from tests.chaos.inbound.campaign import InboundCampaign
from tests.chaos.inbound.faults import InboundFault
from tests.chaos.input_faults import InputFault
from tests.support.simulator import running_simulator

FAULTS = (InboundFault.LOST, InboundFault.DOUBLED, InboundFault.FREEZE_SINK)


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.timeout(240)
async def test_movements_under_faults_stand_once_in_the_history(
    make_settings: Callable[[int], KafkaSettings], database_url: str, tmp_path: Path
):
    """Pushes are lost and doubled, and the only receiver and puller is frozen for a moment."""
    with running_simulator(tmp_path) as simulator:
        campaign = InboundCampaign(
            settings=make_settings(2),
            database_url=database_url,
            simulator=simulator,
            folder=tmp_path,
            citizens=12,
            rate=20,
            sinks=1,
            hidden=0.2,
            pulled_every=0.4,
            pause=(0.1, 0.2),
            hold=(0.3, 0.5),
            weights=dict.fromkeys(FAULTS, 1),
            interrupts=False,
        )
        found = await campaign.run(len(FAULTS) + len(InputFault))
    assert (found.missing, found.double, found.differing, found.failed) == ([], [], [], [])
    assert found.movements > 5
    assert set(campaign.injected) == {*FAULTS, *InputFault}
