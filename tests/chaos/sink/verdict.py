"""What register, ledger and topics must agree on after every fault, key by key."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from izin.console.read_topic import read_all
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger import deadlines
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import verify
from tests.chaos.agreement import differences
from tests.chaos.sink.decision_source import DecisionSource
from tests.support.simulator import SimulatorAdmin


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkVerdict:
    """What came of a campaign."""

    keys: int
    movements: int
    calls: int
    token_calls: int
    h084: int
    h124: int
    missed: int
    """Terms that ended before İYS had the consent, and opt-outs that reached İYS late."""
    unexplained: tuple[str, ...]
    """What no rule explains; none: every promise was kept."""


async def judge(
    settings: KafkaSettings, ledger: Ledger, simulator: SimulatorAdmin, source: DecisionSource
) -> SinkVerdict:
    """Compare İYS's register, the ledger and the topics with what was decided."""
    movements = list(simulator.rows("movements"))
    register = {
        f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}": row["status"]
        for row in simulator.rows("register")
    }
    permitted = {
        one.key: one.value["may_send"]
        for one in read_all(settings, Codec(), settings.topics.permissions)
    }
    unexplained = await differences(ledger, source.states, register, permitted)
    unexplained += misplaced_movements(movements)
    unexplained += [f"history: {one.what}" for one in (await verify.verify(ledger, ())).faults]
    counted = simulator.requests()["operations"]
    codes: Counter[str] = Counter()
    for one in counted.values():
        codes.update(one.get("codes", {}))
    missed = len(await deadlines.breaches(ledger))
    missed += sum(one.missed for one in await deadlines.margins(ledger, now=datetime.now(UTC)))
    if missed:
        unexplained.append(f"{missed} terms missed")
    token_calls = counted.get("token", {}).get("total", 0)
    if codes["H084"] or token_calls > 10:
        unexplained.append(f"{token_calls} token calls, {codes['H084']} × H084")
    return SinkVerdict(
        keys=len(source.states),
        movements=len(movements),
        calls=sum(one.get("total", 0) for one in counted.values()),
        token_calls=token_calls,
        h084=codes["H084"],
        h124=codes["H124"],
        missed=missed,
        unexplained=tuple(unexplained),
    )


def misplaced_movements(rows: list[dict[str, Any]]) -> list[str]:
    """Return each movement that İYS saved twice, or after a later one of its key."""
    counts = Counter((row["recipient"], row["status"], row["consentDate"]) for row in rows)
    found = [
        f"{status} of {date} saved {n} times" for (_, status, date), n in counts.items() if n > 1
    ]
    last: dict[str, str] = {}
    for row in rows:
        recipient, date = row["recipient"], row["consentDate"]
        if date < last.get(recipient, ""):
            found.append(f"a movement of {date} was saved after one of {last[recipient]}")
        last[recipient] = max(date, last.get(recipient, ""))
    return found
