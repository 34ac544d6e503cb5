"""Dead letters in the worklist: records that could not be processed, and that wait for a person;
and files that were imported in the console, with rows that were refused.

Dead letters are in Kafka, and are read again where there are more of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from izin.consent import IzinError
from izin.ledger import dead_letters
from izin.ledger.db import Ledger
from izin.ledger.dead_letters import UNTOUCHED
from izin.replay.dead_letters.reading import (
    Content,
    DeadLetterReader,
    DeadLetterSelection,
    Letter,
)
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.views.sentences import Instruction, Sentence, sentence
from izin.views.worklist import Need, WorkItem

_MOST = 1000
"""Letters that are listed, the newest."""
_SINCE = timedelta(days=90)
_EVERY = 60.0
"""Seconds between two looks at the topic."""
_log = get_logger(__name__)
Letters = Collection[tuple[Letter, Content | None]]


def read_letters(kafka: KafkaSettings, codec: Codec) -> Letters:
    """Return the newest dead letters of the last three months, with what can be read of each.

    Raises:
        BrokerError: Kafka cannot be read, or has no such topic.
        OurError: the schema registry is out of reach.
    """
    recent = DeadLetterSelection(since=datetime.now(UTC) - _SINCE)
    return deque(DeadLetterReader(kafka, codec).select(recent), maxlen=_MOST)


async def unreadable(ledger: Ledger, letters: Letters) -> Sequence[WorkItem]:
    """Return those of ``letters`` that nobody has acknowledged, redriven or corrected."""
    known = await dead_letters.statuses(ledger, [letter.identity for letter, _ in letters])
    return [
        _item(letter, content)
        for letter, content in letters
        if known.get(letter.identity, UNTOUCHED) == UNTOUCHED
    ]


class Unreadable:
    """The dead letters and files of the worklist, as ``run`` has last seen them."""

    def __init__(self) -> None:
        self._letters: Sequence[WorkItem] = ()
        self._files: Sequence[WorkItem] = ()

    @property
    def items(self) -> Sequence[WorkItem]:
        """All of them."""
        return [*self._letters, *self._files]

    async def run(
        self,
        kafka: KafkaSettings,
        codec: Codec,
        ledger: Ledger,
        files: Callable[[], Sequence[WorkItem]],
    ) -> NoReturn:
        """Keep them up to date until it is cancelled: the dead letters, and ``files``."""
        ends: Mapping[int, int] = {}
        letters: Letters = ()
        while True:
            self._files = await asyncio.to_thread(files)
            try:
                now = await asyncio.to_thread(DeadLetterReader(kafka, codec).ends)
                if now != ends:
                    letters, ends = await asyncio.to_thread(read_letters, kafka, codec), now
                self._letters = await unreadable(ledger, letters)
            except IzinError as error:
                _log.warning("dead letters not read", error=str(error))
            await asyncio.sleep(_EVERY)


def _item(letter: Letter, content: Content | None) -> WorkItem:
    event = None if content is None else content.event
    first = next(iter(letter.violations), None)
    why = sentence(letter.reason)
    if first is not None:
        why = sentence(
            "%(field)s: %(why)s (%(code)s)", field=first.field, why=first, code=first.code
        )
    return WorkItem(
        kind=Need.UNREADABLE,
        id=letter.name,
        brand_code=None if event is None else event.brand_code,
        channel="" if event is None else str(event.type),
        recipient="" if event is None else str(event.recipient),
        status="" if event is None else str(event.status),
        reason=letter.reason if first is None else first.code,
        why=why,
        remedy=_remedy(letter),
        since=letter.at,
    )


def _remedy(letter: Letter) -> Sentence:
    return sentence(
        "correct the record at its source, and send it again from there; or an operator does it: "
        "%(show)s",
        show=Instruction(f"izin dead-letters show {letter.name}"),
    )
