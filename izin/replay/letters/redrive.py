"""Redrive dead letters: what would happen, then what did, and where the two differ.

Opt-outs go first, and the others follow once those are decided: so the order in which a key's
letters are decided is that of the preview, and the counts agree. Each letter is noted in the
history when it is written and when its result is known; a command that ended in between is run
again, and goes on from there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import monotonic

from izin.replay.letters import ledger_decisions
from izin.replay.letters.orders import RedriveOrder
from izin.replay.letters.outcomes import Outcome
from izin.replay.letters.plan import Planner, RedrivePlan
from izin.replay.letters.reading import LetterReader
from izin.replay.letters.results import Results, SentLetter, await_decided, await_passed
from izin.replay.letters.sending import AT_ONCE, LetterWriter
from izin.runtime import kafka
from izin.sinks.ledger import dead_letters, reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.dead_letters import LetterKey, Redrive, RedriveResult

_PAGE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveStatement:
    """Who orders a redrive, why, and how."""

    by: str
    reason: str
    wait: timedelta
    """How long it may take until all is decided."""
    refused_too: bool = False
    """Whether what would be refused again is written too."""


@dataclass(slots=True, kw_only=True, repr=False)
class RedriveReport:
    """What a redrive did."""

    plan: RedrivePlan
    results: list[tuple[SentLetter, RedriveResult]] = field(default_factory=list)
    waiting: list[SentLetter] = field(default_factory=list)
    """Written and not decided in time."""
    unsent: int = 0
    """Not written, for what goes before them was not decided in time."""
    kept: int = 0
    """Left where they are, for they would be refused again."""

    @property
    def expected(self) -> Counter[Outcome]:
        """What was to become of the letters that have a result."""
        return Counter(sent.expected for sent, _ in self.results)

    @property
    def became(self) -> Counter[Outcome]:
        """What became of them."""
        return Counter(Outcome(result.result) for _, result in self.results)

    @property
    def differences(self) -> list[tuple[SentLetter, RedriveResult]]:
        """The letters of which something else became than was expected."""
        return [(sent, result) for sent, result in self.results if sent.expected != result.result]


class Redriver:
    """Redrives the dead letters that a planner plans."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._ledger = planner.ledger
        self._settings = planner.settings
        self._codec = planner.codec

    async def execute(self, plan: RedrivePlan, how: RedriveStatement) -> RedriveReport:
        """Redrive the letters of ``plan``, and return what became of them.

        What an earlier command has written is not written again: its result is awaited first, and
        may change the plan. Raises as ``Planner.plan``, and BrokerError where Kafka does not
        acknowledge.
        """
        until = monotonic() + how.wait.total_seconds()
        report = RedriveReport(plan=plan)
        if plan.unsettled:
            await self._settle(plan.unsettled, {}, how, until, report)
            if report.waiting:
                report.unsent = len(plan.letters)
                return report
            settled = frozenset(sent.letter for sent, _ in report.results)
            report.plan = await self._planner.plan(
                plan.selection, again=plan.again, without=settled
            )
        letters_from = await asyncio.to_thread(LetterReader(self._settings, self._codec).ends)
        chosen = [
            order
            for order, prediction in report.plan.letters
            if how.refused_too or prediction.outcome is not Outcome.REFUSED
        ]
        expected = {order.letter: one.outcome for order, one in report.plan.letters}
        writer = LetterWriter(self._settings)
        report.kept = len(report.plan.letters) - len(chosen)
        for topic in self._planner.phases:
            some = [one for one in chosen if one.record.topic == topic]
            if report.waiting:
                report.unsent += len(some)
                continue
            sent = await self._send(writer, some, expected, how)
            await self._settle(sent, letters_from, how, until, report)
        return report

    async def _send(
        self,
        writer: LetterWriter,
        orders: Sequence[RedriveOrder],
        expected: Mapping[LetterKey, Outcome],
        how: RedriveStatement,
    ) -> list[SentLetter]:
        """Write ``orders``, which are of one topic, by ``writer``, and note where each went."""
        if not orders:
            return []
        decisions = self._settings.topics.decisions.name
        ends = await asyncio.to_thread(kafka.committed_ends, self._settings, decisions)
        show = self._planner.progress("writing")
        sent: list[SentLetter] = []
        for start in range(0, len(orders), AT_ONCE):
            some = orders[start : start + AT_ONCE]
            offsets = await asyncio.to_thread(writer.write, some)
            now = self._planner.clock()
            noted = [
                SentLetter(
                    one.letter,
                    Redrive(
                        to=f"{one.record.topic}/{one.record.partition}/{offset}",
                        expected=expected[one.letter],
                        decisions_from=ends[one.record.partition],
                        by=how.by,
                        at=now,
                        reason=how.reason,
                    ),
                )
                for one, offset in zip(some, offsets, strict=True)
            ]
            await dead_letters.redriven(
                self._ledger, {one.letter: one.redrive for one in noted}, now=now
            )
            sent += noted
            show(len(sent), len(orders))
        return sent

    async def _settle(
        self,
        sent: Sequence[SentLetter],
        letters_from: dict[int, int],
        how: RedriveStatement,
        until: float,
        report: RedriveReport,
    ) -> None:
        """Wait for the results of ``sent``, note them in the history, add them to ``report``."""
        decisions = self._settings.topics.decisions.name
        decided = [one for one in sent if one.place[0] != decisions]
        taken = [one for one in sent if one.place[0] == decisions]
        show, results = self._planner.progress("waiting"), Results(self._settings, self._codec)
        found: list[RedriveResult] = []
        if decided:
            waiting = await asyncio.to_thread(
                await_decided, self._settings, self._codec, decided, until, progress=show
            )
            found += await asyncio.to_thread(
                results.decided, _others(decided, waiting), letters_from
            )
            report.waiting += waiting
        if taken:
            loop = asyncio.get_running_loop()
            passed = partial(_ingested, self._ledger, loop)
            waiting = await asyncio.to_thread(await_passed, taken, passed, until, progress=show)
            found += await ledger_decisions.taken(
                self._ledger, self._codec, results, _others(taken, waiting)
            )
            report.waiting += waiting
        if found:
            by_place = {one.redrive.to: one for one in sent}
            for start in range(0, len(found), _PAGE):
                some = found[start : start + _PAGE]
                await dead_letters.settle(
                    self._ledger, some, by=how.by, reason=how.reason, now=self._planner.clock()
                )
            report.results += [(by_place[one.to], one) for one in found]


def _others(sent: Sequence[SentLetter], waiting: Iterable[SentLetter]) -> list[SentLetter]:
    """Return those of ``sent`` that are not ``waiting``."""
    left = {one.letter for one in waiting}
    return [one for one in sent if one.letter not in left]


def _ingested(ledger: Ledger, loop: asyncio.AbstractEventLoop) -> Mapping[tuple[str, int], int]:
    """Return, from another thread than that of ``loop``, what the ledger has taken."""
    return asyncio.run_coroutine_threadsafe(reads.ingested(ledger), loop).result()
