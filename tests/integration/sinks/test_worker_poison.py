"""A sink worker with a poisonous record among good ones: opt-outs settle, and it stays up."""

from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from izin.sinks.ledger.db.connection import Ledger
from tests.integration.sinks.ingest.test_isolation import OTHER, THIRD, to_spoil, write
from tests.integration.sinks.sink_harness import SinkHarness, onay, ret, until
from tests.support.builders import PHONE
from tests.support.poison import POISON
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

pytestmark = [pytest.mark.database, pytest.mark.broker]


async def test_worker_settles_opt_outs_behind_poison_and_restarts(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    ledger: Ledger,
    database_url: str,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
    iys: SimulatorAdmin,
):
    """Each fault once, an opt-out behind each; and after a restart nothing is stumbled over."""
    iys.post("settings", resultDelay=0.2)
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    given = harness.decided(onay(PHONE), onay(OTHER), to_spoil(harness, recipient=THIRD))
    poison = [spoil(given[-1].value) for spoil in POISON.values()]
    first, second = harness.decided(ret(PHONE), ret(OTHER))
    write(kafka_settings, [given[0].value, *poison[:3], given[1].value])
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
    )
    try:
        processes.start()
        await until(lambda: len(iys.register()) == 2, within=40)
        write(kafka_settings, [*poison[3:], first.value])
        await until(lambda: iys.register().get(PHONE) == "RET", within=40)
        processes.kill(0)
        processes.start()
        write(kafka_settings, [second.value])
        await until(lambda: iys.register().get(OTHER) == "RET", within=40)
        assert processes.running[0].poll() is None
    finally:
        processes.end()
    assert processes.running[0].returncode == 0
    text = (tmp_path / "sinks.log").read_text(encoding="utf-8")
    assert text.count("decision quarantined") == len(poison)
