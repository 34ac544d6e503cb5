"""Redrive dead letters: what would happen, then what did, and where the two differ.

Opt-outs go first, and the others follow once those are decided: so the order in which a key's
letters are decided is that of the preview, and the counts agree. Each letter is noted in the
history when it is written and when its result is known; a command that ended in between is run
again, and goes on from there.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from izin.consent import SourceError
from izin.kafka import clients
from izin.kafka.clients import partitions_of
from izin.ledger import dead_letters, reads
from izin.ledger.db import Ledger
from izin.ledger.dead_letters import UNTOUCHED, Redrive
from izin.replay.dead_letters.outcomes import (
    Obstacle,
    Prediction,
    RedriveOrder,
    RedriveOutcome,
    SentLetter,
    await_passed,
    order_of,
    predict,
    predict_in_ledger,
    results_of,
)
from izin.replay.dead_letters.reading import (
    DeadLetterReader,
    DeadLetterSelection,
)
from izin.runtime.errors import BrokerError
from izin.runtime.plan import OnProgress, silent
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SuppressionKeys
from izin.streams.fetched_record import FetchedRecord
from izin.streams.ownership import DecidedOffsets

MOST_LETTERS = 100_000
"""Letters of one run, which has them in memory; the next run takes those that follow."""
MOST_BYTES = 256 * 1024 * 1024
AT_ONCE = 2000
"""Letters that are written, and then noted together: so many at most are written twice where a
command ends in between, of which the law makes duplicates."""
_PAGE = 5000
_WITHIN = 60.0
_LINGER = 20


@dataclass(slots=True, kw_only=True, repr=False)
class RedrivePreview:
    """What a redrive would do. It is not shown: ``asyncio.run`` would show all of its letters."""

    selection: DeadLetterSelection
    letters: Sequence[tuple[RedriveOrder, Prediction]] = ()
    """What would become of each, in the order in which they are written."""
    obstacles: list[Obstacle] = field(default_factory=list)
    unsettled: list[SentLetter] = field(default_factory=list)
    """Written by an earlier command that did not see what became of them."""
    acknowledged: int = 0
    """Letters that are meant, and left out because they are acknowledged."""
    is_full: bool = False
    """Whether more letters are meant than one run takes."""

    @property
    def expected(self) -> Counter[RedriveOutcome]:
        """How many letters become what."""
        return Counter(prediction.outcome for _, prediction in self.letters)


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

    preview: RedrivePreview
    results: list[SentLetter] = field(default_factory=list)
    """Written, with what became of each."""
    waiting: list[SentLetter] = field(default_factory=list)
    """Written and not decided in time."""
    unsent: int = 0
    """Not written, for what goes before them was not decided in time."""
    kept: int = 0
    """Left where they are, for they would be refused again."""

    @property
    def expected(self) -> Counter[RedriveOutcome]:
        """What was to become of the letters that have a result."""
        return Counter(result.expected for result in self.results)

    @property
    def became(self) -> Counter[RedriveOutcome]:
        """What became of them."""
        return Counter(RedriveOutcome(result.redrive.result or "") for result in self.results)

    @property
    def differences(self) -> list[SentLetter]:
        """The letters of which something else became than was expected."""
        return [result for result in self.results if result.redrive.result != result.expected]


@dataclass(frozen=True, kw_only=True)
class Redriver:
    """Redrives the dead letters of an installation."""

    ledger: Ledger
    settings: KafkaSettings
    codec: Codec
    suppressions: SuppressionKeys
    clock: Callable[[], datetime]
    progress: Callable[[str], OnProgress] = lambda _: silent
    """Returns what shows the progress of a step, by its name."""

    @property
    def phases(self) -> tuple[str, str, str]:
        """The topics in the order in which they are written: opt-outs first."""
        topics = self.settings.topics
        return topics.express.name, topics.events.name, topics.decisions.name

    async def preview(
        self, selection: DeadLetterSelection, *, again: bool = False
    ) -> RedrivePreview:
        """Return what would become of the letters of ``selection``: those that nobody has
        acknowledged, or with ``again`` all.

        Raises:
            SourceError: a letter that is named does not exist.
            BrokerError: Kafka cannot be read.
            StateError: the present state cannot be read here.
        """
        found = RedrivePreview(selection=selection)
        orders = await self._gather(found, again=again)
        orders.sort(key=lambda one: self.phases.index(one.record.topic))
        found.letters = await self._predicted(orders)
        return found

    async def _predicted(
        self, orders: Sequence[RedriveOrder]
    ) -> list[tuple[RedriveOrder, Prediction]]:
        """Return ``orders``, those of decisions last, with what would become of each now."""
        decided = [
            order for order in orders if order.record.topic != self.settings.topics.decisions.name
        ]
        predictions = await asyncio.to_thread(
            predict,
            decided,
            self.settings,
            self.codec,
            self.suppressions,
            self.progress("running the law"),
        )
        predictions += await predict_in_ledger(self.ledger, self.codec, orders[len(decided) :])
        return list(zip(orders, predictions, strict=True))

    async def _gather(self, found: RedrivePreview, *, again: bool) -> list[RedriveOrder]:
        """Note in ``found`` what is met; return the letters that can be redriven."""
        topics, now = self.settings.topics, int(self.clock().timestamp() * 1000)
        counts = {topic.name: partitions_of(topic, self.settings) for topic in topics}
        orders: list[RedriveOrder] = []
        names, size = set[str](), 0
        show = self.progress("reading dead letters")
        reader = DeadLetterReader(self.settings, self.codec)
        with closing(reader.select(found.selection, progress=show)) as letters:
            while page := await asyncio.to_thread(list, islice(letters, _PAGE)):
                known = await dead_letters.statuses(self.ledger, [one.identity for one, _ in page])
                for letter, content in page:
                    names.add(letter.name)
                    status = known.get(letter.identity, UNTOUCHED)
                    if status.acknowledgement and not again:
                        found.acknowledged += 1
                        continue
                    if status.unsettled is not None:
                        found.unsettled.append(
                            SentLetter(letter.identity, status.unsettled, letter.value or b"")
                        )
                        continue
                    order = order_of(letter, content, topics, counts, now)
                    if isinstance(order, Obstacle):
                        found.obstacles.append(order)
                    else:
                        orders.append(order)
                        size += len(letter.value or b"") + sum(
                            len(value or b"") for _, value in letter.headers
                        )
                if len(orders) >= MOST_LETTERS or size >= MOST_BYTES:
                    break
            found.is_full = next(letters, None) is not None
        if unknown := sorted(found.selection.names - names):
            raise SourceError(
                f"no dead letter {', '.join(unknown)}; each has its name in: izin dead-letters list"
            )
        return orders

    async def execute(self, preview: RedrivePreview, how: RedriveStatement) -> RedriveReport:
        """Redrive the letters of ``preview``, and return what became of them.

        What an earlier command has written is not written again: its result is awaited first, and
        may change the preview. Raises as :meth:`preview`, and BrokerError where Kafka does not
        acknowledge.
        """
        until = monotonic() + how.wait.total_seconds()
        report = RedriveReport(preview=preview)
        if preview.unsettled:
            await self._settle(preview.unsettled, {}, how, until, report)
            if report.waiting:
                report.unsent = len(preview.letters)
                return report
            preview.letters = await self._predicted([order for order, _ in preview.letters])
        letters_from = await asyncio.to_thread(DeadLetterReader(self.settings, self.codec).ends)
        chosen = [
            (order, prediction)
            for order, prediction in preview.letters
            if how.refused_too or prediction.outcome is not RedriveOutcome.REFUSED
        ]
        report.kept = len(preview.letters) - len(chosen)
        producer = clients.producer(self.settings, **{"linger.ms": _LINGER})
        for topic in self.phases:
            of_phase = [one for one in chosen if one[0].record.topic == topic]
            if report.waiting:
                report.unsent += len(of_phase)
            elif of_phase:
                await self._settle(
                    await self._send(producer, of_phase, how), letters_from, how, until, report
                )
        return report

    async def _send(
        self,
        producer: Producer,
        letters: Sequence[tuple[RedriveOrder, Prediction]],
        how: RedriveStatement,
    ) -> list[SentLetter]:
        """Write ``letters``, which are of one topic, and note where each went."""
        ends = await asyncio.to_thread(
            clients.committed_ends, self.settings, self.settings.topics.decisions.name
        )
        show, sent = self.progress("writing"), list[SentLetter]()
        for start in range(0, len(letters), AT_ONCE):
            page = letters[start : start + AT_ONCE]
            offsets = await asyncio.to_thread(
                _write, self.settings, producer, [order.record for order, _ in page]
            )
            now = self.clock()
            noted = {
                order.letter: Redrive(
                    to=f"{order.record.topic}/{order.record.partition}/{offset}",
                    expected=prediction.outcome,
                    decisions_from=ends[order.record.partition],
                    by=how.by,
                    at=now,
                    reason=how.reason,
                )
                for (order, prediction), offset in zip(page, offsets, strict=True)
            }
            await dead_letters.redriven(self.ledger, noted, now=now)
            sent += [
                SentLetter(order.letter, noted[order.letter], order.record.value or b"")
                for order, _ in page
            ]
            show(len(sent), len(letters))
        return sent

    async def _settle(
        self,
        sent: Sequence[SentLetter],
        letters_from: Mapping[int, int],
        how: RedriveStatement,
        until: float,
        report: RedriveReport,
    ) -> None:
        """Wait for the results of ``sent``, note them in the history, add them to ``report``."""
        with closing(DecidedOffsets(self.settings, self.codec)) as decided:

            async def passed() -> Mapping[tuple[str, int], int]:
                return {
                    **await reads.ingested(self.ledger),
                    **await asyncio.to_thread(decided.read),
                }

            known, waiting = await await_passed(sent, passed, until, self.progress("waiting"))
        report.waiting += waiting
        found = await results_of(known, letters_from, self.ledger, self.settings, self.codec)
        for start in range(0, len(found), _PAGE):
            await dead_letters.settle(
                self.ledger,
                {one.letter: one.redrive for one in found[start : start + _PAGE]},
                by=how.by,
                reason=how.reason,
                now=self.clock(),
            )
        report.results += found


def _write(
    settings: KafkaSettings, producer: Producer, records: Sequence[FetchedRecord]
) -> list[int]:
    """Write ``records`` in their order; return the offset of each.

    Raises:
        BrokerError: not all were acknowledged. Those that were may be written again.
    """
    offsets: dict[int, int] = {}
    errors: list[KafkaError] = []

    def note(number: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            offsets[number] = message.offset() or 0
        else:
            errors.append(error)

    with clients.broker_errors(settings):
        for number, one in enumerate(records):
            producer.produce(
                one.topic,
                one.value,
                one.key,
                one.partition,
                partial(note, number),
                headers=list(one.headers),
            )
            producer.poll(0)
        producer.flush(_WITHIN)
        if errors:
            raise KafkaException(errors[0])
    if len(offsets) < len(records):
        raise BrokerError(
            f"Kafka did not acknowledge {len(records) - len(offsets)} of {len(records)} records; "
            "run the same command again: nothing is done twice"
        )
    return [offsets[number] for number in range(len(records))]
