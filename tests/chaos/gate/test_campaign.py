"""A short campaign on real servers; the long one is ``make chaos STAGE=gate``."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from tests.chaos.gate.campaign import GateCampaign
from tests.chaos.gate.faults import KILLS, PARTS, WEIGHTS, GateFault
from tests.chaos.input_faults import InputFault
from tests.support.simulator import running_simulator

OF_SERVERS = {GateFault.CUT_OFF_GATE, GateFault.BROKER, GateFault.DATABASE}
"""These need servers of their own."""


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.timeout(240)
async def test_gates_under_faults_never_say_yes_wrongly(
    make_settings: Callable[[int], KafkaSettings], database_url: str, tmp_path: Path
):
    """Nobody is sent to who opted out or whom İYS has not; at the end all others are."""
    with running_simulator(tmp_path) as simulator:
        campaign = GateCampaign(
            settings=make_settings(2),
            database_url=database_url,
            simulator=simulator,
            folder=tmp_path,
            recipients=30,
            refused=3,
            rate=10,
            pause=(0.2, 0.4),
            hold=(1.0, 2.5),
            stale_after=timedelta(seconds=2),
        )
        found = await campaign.run(10)
    assert found.wrong == ()
    assert found.unexplained == ()
    assert found.granted == found.consenting > 10
    assert found.with_token > 0
    assert set(campaign.injected) == (set(GateFault) - OF_SERVERS) | set(InputFault)


def test_every_fault_has_a_weight_and_a_target():
    """One without would never be injected, or hit nothing."""
    assert set(WEIGHTS) == set(GateFault)
    assert set(GateFault) - set(PARTS) == {GateFault.BROKER, GateFault.DATABASE}
    assert set(PARTS) >= KILLS
