"""What three tellings of one story must agree on after every fault, key by key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from izin.console.topics import read_all
from izin.demo.compare import Ending, Kept, Wanted, compare
from izin.schemas.codec import Codec
from izin.sinks.ledger import deadlines, reads
from izin.sinks.ledger.history import verify

if TYPE_CHECKING:
    from izin.runtime.settings import KafkaSettings
    from izin.sinks.ledger.db.connection import Ledger
    from tests.chaos.sink.processes import Iys, Law


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a campaign."""

    keys: int
    movements: int
    calls: int
    token_calls: int
    silences: int
    """H084."""
    throttles: int
    """H124."""
    missed: int
    """Terms that ended untold, and opt-outs that were told late."""
    faults: tuple[str, ...]
    """What no rule explains; none: every promise was kept."""


async def judge(settings: KafkaSettings, ledger: Ledger, iys: Iys, law: Law) -> Verdict:
    """Compare İYS's register, the ledger and the topics with what the law decided."""
    movements = list(iys.rows("movements"))
    faults = [*await _differences(settings, ledger, iys, law), *_movements(movements)]
    faults += [f"history: {one.what}" for one in (await verify.verify(ledger, ())).faults]
    counted = iys.requests()["operations"]
    codes: Counter[str] = Counter()
    for one in counted.values():
        codes.update(one.get("codes", {}))
    missed = len(await deadlines.breaches(ledger))
    missed += sum(one.missed for one in await deadlines.margins(ledger, now=datetime.now(UTC)))
    if missed:
        faults.append(f"{missed} terms missed")
    token_calls = counted.get("token", {}).get("total", 0)
    if codes["H084"] or token_calls > 10:
        faults.append(f"{token_calls} token calls, {codes['H084']} × H084")
    return Verdict(
        keys=len(law.states),
        movements=len(movements),
        calls=sum(one.get("total", 0) for one in counted.values()),
        token_calls=token_calls,
        silences=codes["H084"],
        throttles=codes["H124"],
        missed=missed,
        faults=tuple(faults),
    )


async def _differences(settings: KafkaSettings, ledger: Ledger, iys: Iys, law: Law) -> list[str]:
    register = {
        f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}": row["status"]
        for row in iys.rows("register")
    }
    kept = {
        row.key: Kept(
            desired=row.desired_status or "",
            registered=row.registered,
            state=row.state,
            why=row.why or "",
        )
        async for row in reads.register(ledger)
    }
    permitted = {
        one.key: one.value["may_send"]
        for one in read_all(settings, Codec(), settings.topics.permissions)
    }
    wanted = {key: Wanted(status=str(consent.status)) for key, consent in law.states.items()}
    found = compare(wanted, kept, register, permitted)
    faults = [f"{one.key}: {one.what}" for one in found.differences]
    fine = {Ending.REGISTERED, Ending.KEPT_LOCALLY}
    return faults + [
        f"{count} keys {end}" for end, count in found.endings.items() if end not in fine
    ]


def _movements(rows: list[dict[str, Any]]) -> list[str]:
    """Return each movement that İYS saved twice, or after a later one of its key."""
    faults = []
    said = Counter((row["recipient"], row["status"], row["consentDate"]) for row in rows)
    faults += [
        f"{status} of {date} saved {n} times" for (_, status, date), n in said.items() if n > 1
    ]
    last: dict[str, str] = {}
    for row in rows:
        recipient, date = row["recipient"], row["consentDate"]
        if date < last.get(recipient, ""):
            faults.append(f"a movement of {date} was saved after one of {last[recipient]}")
        last[recipient] = max(date, last.get(recipient, ""))
    return faults
