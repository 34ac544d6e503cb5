"""The suite's one campaign, with few faults; each of them falls with ``make chaos STAGE=sink``."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.results import publish
from izin.runtime.settings import KafkaSettings
from izin.stack.report import DesiredState, compare
from izin.stack.scenario import LedgerState
from tests.chaos.sink.__main__ import LIGHT, SinkCampaign, report
from tests.chaos.sink.injector import WEIGHTS, SinkFault
from tests.chaos.sink.verdict import OptOutDelays, SinkVerdict, misplaced_movements
from tests.support.simulator import running_simulator

FAULTS = dict.fromkeys(
    (
        SinkFault.KILL,
        SinkFault.FREEZE,
        SinkFault.CLOCK,
        SinkFault.SILENT_DATABASE,
        SinkFault.DATABASE,
        SinkFault.LOST_AFTER,
        SinkFault.RECORDS,
        SinkFault.HELD_BACK,
    ),
    1,
)
"""Each once: a process, its clock, its network, the server, a call, what it reads."""


@pytest.mark.broker
@pytest.mark.database
@pytest.mark.timeout(240)
async def test_sinks_under_faults_end_where_iys_does(
    kafka: str, topic_prefix: str, database_url: str, tmp_path: Path
) -> None:
    """Register, ledger and topics agree; nothing was saved twice or out of order."""
    with running_simulator(tmp_path) as simulator:
        campaign = SinkCampaign(
            settings=KafkaSettings(
                bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2
            ),
            database_url=database_url,
            simulator=simulator,
            log=tmp_path / "sinks.log",
            load=LIGHT,
            seed=7,
            workers=2,
            kinds=FAULTS,
            pause=(0.1, 0.6),
            hold=(0.5, 1.5),
        )
        found = await campaign.run(len(FAULTS))
    assert (found.unexplained, found.keys) == ((), LIGHT.keys)
    assert min(found.movements, found.opt_outs) > 0
    assert {fault for _, fault, _ in campaign.injected} == FAULTS.keys()


@pytest.mark.parametrize(("unexplained", "code"), [((), 0), (("a key differs",), 1)])
def test_a_campaign_with_a_difference_is_short_and_ends_with_1(
    unexplained: tuple[str, ...], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unexplained differences are in the last line and in the exit code."""
    fields: dict[str, Any] = dict.fromkeys(SinkVerdict.__dataclass_fields__, 0)
    verdict = SinkVerdict(
        **fields | {"unexplained": unexplained, "delays": OptOutDelays(), "slow": ()}
    )
    campaign: Any = SimpleNamespace(injected=[], workers=3, seed=1, outstanding=[2, 1], load=LIGHT)
    found = report(campaign, verdict, seconds=1)
    assert publish(found, bars=["sink-unexplained"], results=tmp_path / "x.json") == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"sink-unexplained: {code} (bar ≤ 0) {'short' if code else 'ok'}"


def test_a_movement_saved_twice_or_out_of_order_is_found() -> None:
    """The verdict can fail: a repetition, and an older movement after a newer one."""
    one = {"recipient": "+905550000001", "status": "ONAY", "consentDate": "2026-03-02 12:00:00"}
    older = {**one, "status": "RET", "consentDate": "2026-03-02 11:00:00"}
    assert [len(misplaced_movements(some)) for some in ([one], [one, one], [one, older])] == [
        0,
        1,
        1,
    ]


def test_a_ret_that_iys_does_not_hold_is_a_difference() -> None:
    """The comparison can fail: desired RET, and the register has ONAY."""
    key = "100001/MESAJ/BIREYSEL/+905550000001"
    kept = LedgerState(desired="RET", registered="RET", state="accepted")
    found = compare({key: DesiredState("RET", "event-1")}, {key: kept}, {key: "ONAY"}, {key: False})
    assert found.differences


def test_every_fault_has_a_weight() -> None:
    """One without would never be injected."""
    assert set(WEIGHTS) == set(SinkFault)
