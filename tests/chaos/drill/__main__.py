"""``python -m tests.chaos.drill NAME``: a disaster, and the recovery; ``make drill NAME=…``.

    restore-to-moment   the ledger's disk is lost: restored from backup and WAL to a moment
    standby-promoted    the database dies, and its synchronous standby takes over
    kafka-lost          all of Kafka is lost: its state comes from the ledger
    broker-of-three     one broker of three dies with its disk
    order-disk-lost     an order worker dies with the disk of its state
    clock-wrong         the workers' clocks are ten minutes wrong, and are set right

It ends with the lines ``drill-lost``, ``drill-doubled``, ``drill-repeated`` and
``drill-recovery``, each ``ok`` or ``short``. What may be lost, and who has it, is a line above.
Exit codes: 0 every bar is met, 1 one is missed, 2 wrong usage.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import Seed, Show, listed, run_stage, start
from tests.chaos.drill.of_kafka import BrokerOfThree, ClockWrong, KafkaLost, OrderDiskLost
from tests.chaos.drill.of_ledger import RestoreToMoment, StandbyPromoted
from tests.chaos.drill.site import Drill, DrillVerdict
from tests.chaos.pipeline import running_servers
from tests.support.secret_keys import key_setting


class DrillName(StrEnum):
    """A drill."""

    RESTORE_TO_MOMENT = "restore-to-moment"
    STANDBY_PROMOTED = "standby-promoted"
    KAFKA_LOST = "kafka-lost"
    BROKER_OF_THREE = "broker-of-three"
    ORDER_DISK_LOST = "order-disk-lost"
    CLOCK_WRONG = "clock-wrong"


DRILLS: Mapping[DrillName, type[Drill]] = {
    DrillName.RESTORE_TO_MOMENT: RestoreToMoment,
    DrillName.STANDBY_PROMOTED: StandbyPromoted,
    DrillName.KAFKA_LOST: KafkaLost,
    DrillName.BROKER_OF_THREE: BrokerOfThree,
    DrillName.ORDER_DISK_LOST: OrderDiskLost,
    DrillName.CLOCK_WRONG: ClockWrong,
}
_PARTITIONS = 4


def main(
    name: Annotated[DrillName, typer.Argument(metavar="NAME", help="Which drill.")],
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data and logs of the last drill.")] = Path(
        ".izin/drill"
    ),
) -> None:
    """Lose something while recipients act, recover as the docs say, and judge."""
    # The doctor calls what stands readable in the ledger a fault.
    os.environ.setdefault("IZIN_SECRET_KEYS", key_setting(1))
    made = DRILLS[name]

    def run(show: Show) -> DrillVerdict:
        with running_servers(
            folder, partitions=_PARTITIONS, brokers=made.brokers, database=made.database
        ) as servers:
            return asyncio.run(made(servers=servers, seed=seed, on_progress=show).run())

    raise run_stage(
        "drill",
        folder,
        run,
        lambda verdict, seconds: report(name, verdict, seconds),
        in_lines=True,
    )


def report(name: str, verdict: DrillVerdict, seconds: float) -> RunReport:
    """Return the report of a drill."""
    summary = (
        f"{name}: {verdict.events} events, {seconds:.0f} s in all; {verdict.opt_outs_again} "
        "opt-outs submitted that İYS had (H174)"
    )
    return RunReport(
        tables=[
            summary,
            *([verdict.named] if verdict.named else []),
            *listed([*verdict.lost, *verdict.doubled]),
        ],
        data={"drill": name, "seconds": round(seconds), **asdict(verdict)},
        figures={
            "drill-lost": len(verdict.lost),
            "drill-doubled": len(verdict.doubled),
            "drill-repeated": verdict.repeated,
            "drill-recovery": verdict.recovery,
        },
    )


if __name__ == "__main__":
    start("drill", main)
