"""What a gate must not have said, by what was published and what İYS holds.

A gate says yes by what it knows, and it may know everything a little late: it was last seen to the
end of its topics at most so long ago as its setting says. An opt-out is *known* to it where it was
acknowledged longer ago than that before the question, and where the question had its token. A yes
is wrong

- after an opt-out that it knows, unless a later opt-in was published before the answer;
- where İYS had not saved a consent by then, given after every opt-out that the gate knows and after
  every one that İYS had saved so long before.

All instants are of one clock. Dates are those of the recipient's acts, as İYS shows them.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from izin.consent import Status
from izin.kafka.bounded_reader import read_all
from izin.ledger.db import Ledger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_from_avro
from izin.stack.report import FinalState
from tests.chaos.gate.traffic import Answer, Asker, GivenYes, PublishedEvent, Traffic
from tests.chaos.pipeline import differences
from tests.support.simulator import SimulatorAdmin

MARGIN = 1.0
"""Seconds on top of what the setting allows."""


class SavedMovement(NamedTuple):
    """A movement in İYS's register."""

    status: str
    date: str
    saved_at: float
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What came of a campaign."""

    events: int
    opt_outs: int
    unreadable: int
    """Opt-outs that the law refuses."""
    movements: int
    reasons: Mapping[str, int]
    """Of all answers."""
    failures: Mapping[str, int]
    """Questions without an answer."""
    with_token: int
    """Opt-outs about which was asked with their token."""
    wrong: tuple[str, ...]
    consenting: int
    """Recipients to whom messages may be sent at the end."""
    granted: int
    """To so many of them both gates say yes."""
    unexplained: tuple[str, ...]

    @property
    def granted_share(self) -> float:
        """In percent."""
        return 100 * self.granted / self.consenting if self.consenting else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What there is to compare at the end."""

    settings: KafkaSettings
    simulator: SimulatorAdmin
    traffic: Traffic
    askers: Sequence[Asker]
    gates: Mapping[str, Mapping[str, Answer]]
    """What each gate says at the end, by key."""
    permissions: Mapping[str, Answer]
    failed: Sequence[str]
    """What went wrong before."""


async def judge(evidence: Evidence, ledger: Ledger, *, known_within: float) -> GateVerdict:
    """Judge every yes, and compare gates, register, ledger and topics at the end.

    What happened ``known_within`` seconds before a question is known to the gate.
    """
    traffic, askers, gates = evidence.traffic, evidence.askers, evidence.gates
    rows = await asyncio.to_thread(lambda: list(evidence.simulator.rows("movements")))
    movements = movements_of(rows)
    faults = [
        fault_of(
            yes, traffic.events[yes.key], movements.get(yes.key, ()), known_within=known_within
        )
        for asker in askers
        for yes in asker.yes
    ]
    consenting = traffic.consenting()
    said = [[key for key, answer in one.items() if answer.may_send] for one in gates.values()]
    events = [one for some in traffic.events.values() for one in some]
    return GateVerdict(
        events=len(events),
        opt_outs=sum(one.status is Status.RET for one in events),
        unreadable=traffic.unreadable,
        movements=len(rows),
        reasons=_total(one.reasons for one in askers),
        failures=_total(one.failures for one in askers),
        with_token=sum(one.with_token for one in askers),
        wrong=tuple(one for one in faults if one is not None),
        consenting=len(consenting),
        granted=len(consenting.intersection(*said)),
        unexplained=(
            *evidence.failed,
            *disagreements(gates, evidence.permissions),
            *await _differences(evidence, ledger),
        ),
    )


def _total(counts: Iterable[Counter[str]]) -> Mapping[str, int]:
    """Return the sum, the most frequent first."""
    return dict(sum(counts, Counter[str]()).most_common())


async def _differences(evidence: Evidence, ledger: Ledger) -> list[str]:
    """Return where topics, ledger and İYS's register differ."""
    settings = evidence.settings
    topic = settings.topics.desired_consents
    records = await asyncio.to_thread(lambda: list(read_all(settings, Codec(), topic)))
    rows = await asyncio.to_thread(lambda: list(evidence.simulator.rows("register")))
    return await differences(
        ledger,
        {one.key: consent_from_avro(one.value) for one in records},
        {key_of(row): row["status"] for row in rows},
        {key: answer.may_send for key, answer in evidence.permissions.items()},
        also={FinalState.REFUSED},
    )


def movements_of(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, list[SavedMovement]]:
    """Return İYS's movements by key."""
    found: dict[str, list[SavedMovement]] = defaultdict(list)
    for row in rows:
        saved_at = row["occurredAt"] / 1000
        found[key_of(row)].append(SavedMovement(row["status"], row["consentDate"], saved_at))
    return found


def key_of(row: Mapping[str, Any]) -> str:
    """Return the key of what the simulator holds."""
    return f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}"


def fault_of(
    yes: GivenYes,
    events: Sequence[PublishedEvent],
    movements: Sequence[SavedMovement],
    *,
    known_within: float,
) -> str | None:
    """Return what is wrong with ``yes``, None if nothing is.

    ``events`` and ``movements`` are those of its key. What happened ``known_within`` seconds before
    the question is known to the gate.
    """
    known_at = yes.asked_at - known_within
    opt_outs = {
        one.date for one in events if one.status is Status.RET and one.acknowledged_at < known_at
    }
    if yes.token is not None:
        opt_outs.add(yes.token.date)
    what = "the token's opt-out" if yes.token is not None else "an opt-out"
    latest = max(opt_outs, default="")
    if latest and not any(
        one.status is Status.ONAY and one.date > latest and one.published_at < yes.answered_at
        for one in events
    ):
        return _described(yes, f"after {what} of {latest}")
    saved = (one.date for one in movements if one.status == "RET" and one.saved_at < known_at)
    latest = max(latest, *saved, "")
    if not any(
        one.status == "ONAY" and one.date > latest and one.saved_at <= yes.answered_at
        for one in movements
    ):
        return _described(yes, f"İYS held no consent given after {latest or 'no opt-out'}")
    return None


def _described(yes: GivenYes, what: str) -> str:
    took = 1000 * (yes.answered_at - yes.asked_at)
    return (
        f"{yes.gate}, {yes.key}, asked at {yes.asked_at:.3f}, answered after {took:.0f} ms: {what}"
    )


def disagreements(
    gates: Mapping[str, Mapping[str, Answer]], permissions: Mapping[str, Answer]
) -> list[str]:
    """Return where a gate says something else than ``permissions``, which are by key."""
    return [
        f"{gate}, {key}: {found.get(key)}, permissions has {wanted}"
        for gate, found in gates.items()
        for key, wanted in sorted(permissions.items())
        if found.get(key) != wanted
    ]
