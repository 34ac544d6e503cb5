"""A sink worker is killed or frozen amid its work; another one completes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from izin.iys.rate_limit import Pace
from izin.local import free_port
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import enter
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.record.errors import LedgerUnavailableError
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret, until
from tests.integration.sinks.test_worker import a_worker, publish
from tests.support.gate.receipts import a_receipt, publish_receipts
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

pytestmark = [pytest.mark.database, pytest.mark.broker, pytest.mark.timeout(240)]

RECIPIENTS = [a_phone(number) for number in range(120)]
KILLS, RECEIPTS = 3, 200


async def test_killed_worker_loses_nothing_and_sends_nothing_twice(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    ledger: Ledger,
    database_url: str,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
    iys: SimulatorAdmin,
):
    """Killed again and again, the sinks end with what İYS must hold, each movement once; each
    receipt of the gate is in the history once.
    """
    iys.post("settings", resultDelay=0.2)
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    publish(kafka_settings, *harness.decided(*(onay(recipient) for recipient in RECIPIENTS)))
    withdrawn = RECIPIENTS[::4]
    publish_receipts(kafka_settings, [a_receipt(number) for number in range(RECEIPTS)])
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
        environment={"IYS_REQUESTS_PER_SECOND": "100"},
    )

    async def is_settled() -> bool:
        lag = await reads.lag(ledger, now=datetime.now(UTC))
        return (
            lag.is_settled
            and all(iys.register().get(one) in (None, "RET") for one in withdrawn)
            and len(iys.register()) >= len(RECIPIENTS) - len(withdrawn)
        )

    try:
        for kill in range(KILLS):
            processes.start()
            publish_receipts(kafka_settings, [a_receipt(RECEIPTS + kill)])
            if kill == 1:
                publish(kafka_settings, *harness.decided(*(ret(one) for one in withdrawn)))
            goal = (kill + 1) * 20
            await until(lambda goal=goal: len(iys.register()) >= goal, within=40)
            processes.kill(0)
        processes.start()
        await until(is_settled, within=60)
        await until(lambda: _has_receipts(ledger, RECEIPTS + KILLS))
    finally:
        processes.end()
    assert processes.running[0].returncode == 0
    register = iys.register()
    for recipient in RECIPIENTS:
        assert iys.movements(recipient) in (["ONAY"], ["ONAY", "RET"], []), recipient
        if recipient not in withdrawn:
            assert register[recipient] == "ONAY"
        assert (await harness.row(recipient)).state in {"accepted", "not_needed"}


async def _has_receipts(ledger: Ledger, count: int) -> bool:
    """Whether the history has so many receipts, each once."""
    (row,) = await ledger.fetch(
        "SELECT count(*) AS n, count(DISTINCT source) AS sources FROM movements"
        " WHERE kind = 'receipt'"
    )
    assert row["n"] == row["sources"]
    return int(row["n"]) == count


async def test_worker_beside_a_frozen_one_goes_on(  # noqa: PLR0917 - fixtures
    harness: SinkHarness,
    ledger: Ledger,
    database_url: str,
    kafka_settings: KafkaSettings,
    tmp_path: Path,
    iys: SimulatorAdmin,
):
    """What only one process does, and what it had claimed, passes to the other; the frozen one
    wakes, and sends and writes nothing twice.
    """
    iys.post("settings", resultDelay=0.2)
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=tmp_path / "sinks.log",
        result_delay=0.2,
        environment={"IYS_REQUESTS_PER_SECOND": "100"},
    )

    async def is_settled() -> bool:
        lag = await reads.lag(ledger, now=datetime.now(UTC))
        return lag.is_settled and set(iys.register().values()) == {"RET"}

    try:
        publish(kafka_settings, *harness.decided(*(onay(one) for one in RECIPIENTS)))
        processes.start()
        await until(lambda: len(iys.register()) == len(RECIPIENTS), within=60)
        processes.count = 2
        processes.start()
        processes.freeze(0)
        publish(kafka_settings, *harness.decided(*(ret(one) for one in RECIPIENTS)))
        await until(is_settled, within=60)
        processes.thaw(0)
    finally:
        processes.end()
    assert [one.returncode for one in processes.running.values()] == [0, 0]
    for recipient in RECIPIENTS:
        assert iys.movements(recipient) == ["ONAY", "RET"], recipient


@asynccontextmanager
async def frozen_amid_a_slot(settings: LedgerSettings) -> AsyncIterator[None]:
    """Have another process that makes no progress, in a transaction that takes a slot."""
    async with Ledger(settings, owner=7) as frozen, frozen.session() as shown:
        await enter(shown, frozen.owner)
        await shown.execute("INSERT INTO processes (owner, beats) VALUES ('7', 1)")
        async with frozen.transaction() as connection:
            await connection.execute("UPDATE rate_limits SET factor = factor")
            yield


async def test_worker_starts_beside_one_frozen_amid_a_slot(
    harness: SinkHarness,
    ledger_settings: LedgerSettings,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
):
    """The frozen one has the row of the address locked: before the other waits for that, it watches
    for silent ones, and so ends its sessions.
    """
    pacer = LedgerPacer(harness.ledger, Pace(rate=500), address=iys_settings.egress_address)
    await pacer.begin()
    worker = a_worker(kafka_settings, ledger_settings, iys_settings, operations_port=free_port())
    with pytest.raises(LedgerUnavailableError):
        async with frozen_amid_a_slot(ledger_settings), worker:
            pass
