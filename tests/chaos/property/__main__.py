"""``python -m tests.chaos.property``: a million histories; ``make chaos STAGE=property``.

Of a hundred histories one is read by evidence, what-if and reconcile too, which must say what the
ledger says. It ends with the lines ``property-histories``, ``property-unexplained``,
``property-compared`` and ``property-disagreements``, each ``ok`` or ``short``. Exit codes: 0 no
history hides an opt-out and all readers agree, 1 else, 2 wrong usage.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

from benchmarks.results import RunReport
from izin.consent import Consent, ConsentKey, Decision, KeyState, RecipientType, restoration
from izin.evidence.rows import EvidenceRow, fact_of
from izin.evidence.verification import state_at
from izin.ledger.db import microseconds
from izin.ledger.record import (
    ConsentRow,
    Item,
    ItemResult,
    RuledRow,
    TopicMessages,
    first_row,
    permitted_row,
)
from izin.reconcile.judging import ComparedKey, DesiredRecord, PermissionRecord, SaidBy, judge
from izin.replay.what_if.key_history import KeyTimeline
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.command import counted, listed, run_stage, start
from tests.chaos.property.key_history import CUSTOMER, KEY, HiddenOptOutError, KeyHistory
from tests.support.builders import a_decision_record

_PART = 5_000
_MOST_ACTS = 14
_SETTLED = 4
"""Of so many histories one is settled at its end by an honest İYS."""
_COMPARED = 100
"""Of so many histories one is read by evidence, what-if and reconcile too, after each act."""
_COUNTED = ["histories", "acts", "settled", "due_again", "violations", "compared", "disagreements"]
_SHOWN = 5
"""So many of the hidden opt-outs of a part are differing."""
_CODEC = Codec()
_INSTANTS = ("recorded_at", "occurred_at")
_MESSAGES = TopicMessages(_CODEC, KafkaSettings().topics)


class DisagreementError(AssertionError):
    """Two readers of one history say different things."""


class RecordedHistory(KeyHistory):
    """A key and the rows of its history, each recorded when it happened."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.rows: list[EvidenceRow] = []
        self._is_refused = False
        self._submissions: dict[str, int] = {}
        """The latest by status."""
        self._published: PermissionRecord | None = None

    def note(self, kind: str, **said: Any) -> None:  # noqa: ANN401  # as each kind has it
        """Record a fact; what was before the loss of a ledger, or an erasure, is gone with it."""
        match kind:
            case "decision":
                self._add(kind, None, decision=said["decision"])
            case "call":
                item = said["item"]
                self._submissions[item.status] = len(self.rows)
                self._add_of(kind, item, self._called(item))
            case "answer":
                item = said["item"]
                self._add_of(kind, item, self._answered(item, said["result"]))
            case "observation":
                shown = said["shown"]
                data = {
                    "by": shown.verified_by,
                    "creation_date": shown.creation_date,
                    "consent_date": shown.consent_date,
                    "source": shown.source,
                    "transaction_id": shown.transaction_id,
                }
                self._add(kind, data, status=str(shown.value))
            case "refused question":
                self._is_refused = True
            case "bootstrap":
                self._forget()
                self._restored(said["consent"])
            case _:
                self._forget()
                self._published = None

    def _forget(self) -> None:
        self.rows.clear()
        self._is_refused = False

    def put(self, before: ConsentRow | None, after: ConsentRow) -> ConsentRow:
        """Write a row, and record the outcomes that this means."""
        for outcome in _MESSAGES.outcomes(self.row, after, self.now):
            content = outcome.content(outcome.attempt)
            self._add("outcome", content, event_id=outcome.event_id, status=outcome.status)
        permitted = permitted_row(self.row, after, self.now)
        if permitted is not None:
            after = permitted
            self._published = PermissionRecord(
                may_send=after.may_send,
                reason=after.permission_reason or "",
                since=after.permission_since,
            )
        return super().put(before, after)

    def apply(self, before: ConsentRow | None, ruled: RuledRow) -> ConsentRow:
        """Write a ruled row, and before it the one of an opt-in that was closed."""
        row = ruled.row
        if ruled.closed is not None:
            row = row.permitting_as(self.put(before, ruled.closed))
        written = self.put(before, row)
        super().apply(before, ruled)
        self.row = written
        return written

    def compare(self) -> None:
        """Raise DisagreementError where the archive of the key, a what-if, or a reconciliation of
        the topics with the ledger says anything else than the ledger; but not once a person has
        withdrawn an opt-out, or İYS has refused a question, which is in no history of a key.
        """
        if self.is_withdrawn or self._is_refused:
            return
        row = self.row or first_row(ConsentKey.parse(KEY), CUSTOMER, self.now)
        found = state_at(str(RecipientType.BIREYSEL), [fact_of(one) for one in self.rows])
        desired, shown = found["desired"], found["registered"]
        permission = row.permission_by_law
        self._liken(
            "evidence",
            (
                desired and desired["status"],
                _at(desired and desired["effective_at"]),
                shown["status"],
                _at(shown["creation_date"]),
                found["may_send"],
                found["reason"],
            ),
            (
                row.desired_status,
                row.desired_at,
                str(row.registered),
                row.registered_at,
                permission.may_send,
                str(permission.reason),
            ),
        )
        known = self._known()
        if known is not None:
            shown = known.registration
            self._liken(
                "what-if",
                (str(shown.value), shown.creation_date, known.latest_ret_at),
                (str(row.registered), row.registered_at, row.latest_ret_at),
            )

        self._liken("reconcile", self._differences(), ())

    def _differences(self) -> tuple[str, ...]:
        """Return what a reconciliation finds between the ledger and the topics."""
        desired = self.consent
        compared = ComparedKey(
            key=KEY,
            customer_id=CUSTOMER,
            row=self.row,
            desired=None
            if desired is None
            else DesiredRecord(
                status=str(desired.status),
                effective_at=desired.effective_at,
                rank=int(desired.origin_rank),
                event_id=desired.event_id,
                partition=0,
                offset=0,
                value=b"",
            ),
            permission=self._published,
            seen=None,
            asked=None,
        )
        found = judge(compared, pulled_until=None)
        return tuple(f"{one.kind} {one.side}" for one in found if one.side is not SaidBy.IYS)

    def _liken(self, who: str, found: tuple[object, ...], expected: tuple[object, ...]) -> None:
        if found != expected:
            acts = " ".join(self.acts)
            raise DisagreementError(f"{who}: {found}, ledger: {expected}, after {acts}")

    def _known(self) -> KeyState | None:
        found = KeyTimeline(ConsentKey.parse(KEY))
        for row in self.rows:
            fact = fact_of(row)
            times = {
                name: datetime.fromisoformat(fact[name]) for name in ("recorded_at", "occurred_at")
            }
            found.add({**fact, **times, "decision": row.decision, "data": row.columns.data})
        if found.unreadable:
            raise DisagreementError(f"{found.unreadable} facts cannot be read")
        return found.states[-1].state if found.states else None

    def _add_of(self, kind: str, item: Item, data: Mapping[str, object]) -> None:
        self._add(kind, data, event_id=item.event_id, status=item.status)

    def _called(self, item: Item) -> Mapping[str, object]:
        return {
            "submission": self._submissions[item.status],
            "kind": "batch",
            "attempt": item.attempt,
            "consent_date": item.consent_date,
            "source": item.source,
        }

    def _answered(self, item: Item, result: ItemResult) -> Mapping[str, object]:
        receipt = result.receipt
        return {
            "submission": self._submissions[item.status],
            "how": result.how,
            "verdict": str(result.verdict),
            "code": result.code,
            "transaction_id": None if receipt is None else receipt.transaction_id,
            "creation_date": None if receipt is None else receipt.creation_date,
        }

    def _restored(self, consent: Consent) -> None:
        self._add(
            "bootstrap",
            restoration(consent),
            event_id=consent.event_id,
            status=str(consent.status),
            at=consent.effective_at,
        )

    def _add(
        self,
        kind: str,
        data: object,
        *,
        event_id: str | None = None,
        status: str | None = None,
        at: datetime | None = None,
        decision: Decision | None = None,
    ) -> None:
        place = len(self.rows) + 1
        source = None if kind == "decision" else f"{kind}/{place}"
        named = [place, kind, CUSTOMER, KEY, event_id, status, source]
        instants = [microseconds(at or self.now), microseconds(self.now)]
        columns = json.dumps([*named, *instants], ensure_ascii=False)
        said = json.dumps(
            data, ensure_ascii=False, separators=(",", ":"), default=datetime.isoformat
        )
        stored = None
        if decision is not None:
            stored = _CODEC.encode("Decision", a_decision_record(decision, offset=place))
        self.rows.append(EvidenceRow(0, f"{columns[:-1]}, {said}]", stored, bytes(16)))


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyVerdict:
    """What came of the histories."""

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_COUNTED, 0)))
    """Of ``histories``: how many were ``settled``, hide an opt-out (``violations``), had one that
    was ``due_again`` behind an opt-in that is void, were ``compared`` by evidence, what-if and
    reconcile too, and of how many these said anything else than the ledger (``disagreements``).
    """
    kinds: Counter[str] = field(default_factory=Counter)
    """How often each act was done."""
    unexplained: list[str] = field(default_factory=list)
    """The histories that hide an opt-out, as their acts, and disagreements."""

    def add(self, other: "PropertyVerdict") -> None:
        """Add what came of other histories."""
        self.counts.update(other.counts)
        self.kinds.update(other.kinds)
        self.unexplained[:] = [*self.unexplained, *other.unexplained][:_SHOWN]


def run(
    *, histories: int, seed: int, processes: int | None = None, on_progress: Callable[[str], None]
) -> PropertyVerdict:
    """Return what comes of so many histories, the same for the same seed."""
    sizes = [min(_PART, histories - start) for start in range(0, histories, _PART)]
    verdict = PropertyVerdict()
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        waiting = [
            pool.submit(part, seed=f"{seed}/{number}", histories=size)
            for number, size in enumerate(sizes)
        ]
        for done in as_completed(waiting):
            verdict.add(done.result())
            so_far, hidden = verdict.counts["histories"], verdict.counts["violations"]
            on_progress(f"{so_far:,} of {histories:,} histories, {hidden} hide one")
    return verdict


def part(*, seed: str, histories: int) -> PropertyVerdict:
    """Return what comes of some of the histories."""
    random, verdict = Random(seed), PropertyVerdict()
    hidden, differing = list[str](), list[str]()
    for number in range(histories):
        is_compared, is_settled = number % _COMPARED == 0, number % _SETTLED == 0
        history = RecordedHistory(random) if is_compared else KeyHistory(random)
        was_void = False
        try:
            for _ in range(random.randrange(3, _MOST_ACTS)):
                history.step()
                if isinstance(history, RecordedHistory):
                    history.compare()
                was_void |= history.row is not None and history.row.void_event_id is not None
            if is_settled:
                history.settle()
        except HiddenOptOutError as error:
            hidden.append(str(error))
        except DisagreementError as error:
            differing.append(str(error))
        verdict.counts.update(compared=is_compared, settled=is_settled, due_again=was_void)
        verdict.kinds.update(history.acts)
    verdict.counts.update(
        histories=histories,
        acts=verdict.kinds.total(),
        violations=len(hidden),
        disagreements=len(differing),
    )
    verdict.unexplained.extend([*hidden, *differing][:_SHOWN])
    return verdict


def main(
    histories: Annotated[int, typer.Option(min=1, help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same histories for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="The result of the last run.")] = Path(
        ".izin/chaos-property"
    ),
) -> None:
    """Generate histories, and look for an opt-out that İYS lacks and of which nothing is due."""
    raise run_stage(
        "property",
        folder,
        lambda show: run(histories=histories, seed=seed, on_progress=show),
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: PropertyVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    counts = verdict.counts
    summary = (
        f"{counts['histories']:,} histories of {counts['acts']:,} acts in {seconds:.0f} s, "
        f"{counts['settled']:,} of them settled by an honest İYS; in {counts['due_again']:,} "
        "an opt-out was due again behind a void opt-in"
    )
    return RunReport(
        tables=[summary, counted(verdict.kinds), *listed(verdict.unexplained)],
        data={
            "seconds": round(seconds),
            "seed": seed,
            **counts,
            "kinds": verdict.kinds,
            "unexplained": verdict.unexplained,
        },
        figures={
            "property-histories": counts["histories"],
            "property-unexplained": counts["violations"],
            "property-compared": counts["compared"],
            "property-disagreements": counts["disagreements"],
        },
    )


if __name__ == "__main__":
    start("property", main)
