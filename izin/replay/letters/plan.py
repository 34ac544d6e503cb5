"""What a redrive would do: which letters, in which order, and what the law would make of each."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from izin.replay.letters import ledger_decisions
from izin.replay.letters.letter import Content, Letter
from izin.replay.letters.orders import Obstacle, RedriveOrder, order_of
from izin.replay.letters.outcomes import Outcome
from izin.replay.letters.preview import Prediction, Preview
from izin.replay.letters.reading import LetterReader, OnProgress, UnknownLetterError, silent
from izin.replay.letters.results import SentLetter
from izin.replay.letters.selection import LetterSelection
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import partitions_of
from izin.schemas.codec import Codec
from izin.schemas.erasure import SuppressionKeys
from izin.sinks.ledger import dead_letters
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.dead_letters import UNTOUCHED, LetterKey

MOST_LETTERS = 100_000
"""Letters of one run, which has them in memory; the next run takes those that follow."""
MOST_BYTES = 256 * 1024 * 1024
_PAGE = 5000


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedrivePlan:
    """What a redrive would do. It is not shown: ``asyncio.run`` would show all of its letters."""

    selection: LetterSelection
    again: bool = False
    """Whether letters are meant that were dealt with before."""
    letters: Sequence[tuple[RedriveOrder, Prediction]] = ()
    """What would become of each, in the order in which they are written."""
    obstacles: Sequence[Obstacle] = ()
    unsettled: Sequence[SentLetter] = ()
    """Written by an earlier command that did not see what became of them."""
    acknowledged: int = 0
    """Letters that are meant, and left out because they are acknowledged."""
    is_full: bool = False
    """Whether more letters are meant than one run takes."""

    @property
    def expected(self) -> Counter[Outcome]:
        """How many letters become what."""
        return Counter(prediction.outcome for _, prediction in self.letters)


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans redrives of the dead letters of an installation."""

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

    async def plan(
        self,
        selection: LetterSelection,
        *,
        again: bool = False,
        without: frozenset[LetterKey] = frozenset(),
    ) -> RedrivePlan:
        """Return what would become of the letters of ``selection``: those that nobody has
        acknowledged, or with ``again`` all but ``without``.

        Raises:
            UnknownLetterError: a letter that is named does not exist.
            BrokerError: Kafka cannot be read.
            StateError: the present state cannot be read here.
        """
        plan, orders = await self._gathered(selection, again=again, without=without)
        by_topic = defaultdict[str, list[RedriveOrder]](list)
        for order in orders:
            by_topic[order.record.topic].append(order)
        express, events, decisions = (by_topic[one] for one in self.phases)
        decided, taken = [*express, *events], decisions
        preview = Preview(self.settings, self.codec, self.suppressions)
        show = self.progress("running the law")
        found = await asyncio.to_thread(preview.predict, decided, progress=show)
        found += await ledger_decisions.predict(self.ledger, self.codec, taken)
        return replace(plan, letters=list(zip([*decided, *taken], found, strict=True)))

    async def _gathered(
        self, selection: LetterSelection, *, again: bool, without: frozenset[LetterKey]
    ) -> tuple[RedrivePlan, list[RedriveOrder]]:
        """Return a plan without predictions, and the letters that it lacks."""
        topics, now = self.settings.topics, int(self.clock().timestamp() * 1000)
        counts = {one.name: partitions_of(one, self.settings) for one in topics}
        orders: list[RedriveOrder] = []
        obstacles: list[Obstacle] = []
        unsettled: list[SentLetter] = []
        names, acknowledged, size = set[str](), 0, 0
        show = self.progress("reading dead letters")
        found = LetterReader(self.settings, self.codec).select(selection, progress=show)
        with closing(found):
            while page := await asyncio.to_thread(_next_page, found):
                known = await dead_letters.statuses(self.ledger, [one.place for one, _ in page])
                for letter, content in page:
                    names.add(letter.name)
                    status = known.get(letter.place, UNTOUCHED)
                    if letter.place in without or (status.acknowledgement and not again):
                        acknowledged += 1
                    elif status.unsettled is not None:
                        unsettled.append(SentLetter(letter.place, status.unsettled))
                    else:
                        one = order_of(letter, content, topics, counts, now)
                        if isinstance(one, Obstacle):
                            obstacles.append(one)
                            continue
                        orders.append(one)
                        size += letter.size
                if len(orders) >= MOST_LETTERS or size >= MOST_BYTES:
                    break
            is_full = next(found, None) is not None
        if unknown := sorted(selection.names - names):
            raise UnknownLetterError(", ".join(unknown))
        plan = RedrivePlan(
            selection=selection,
            again=again,
            obstacles=obstacles,
            unsettled=unsettled,
            acknowledged=acknowledged,
            is_full=is_full,
        )
        return plan, orders


def _next_page(
    found: Iterator[tuple[Letter, Content | None]],
) -> list[tuple[Letter, Content | None]]:
    return list(islice(found, _PAGE))
