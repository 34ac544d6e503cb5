"""The import of a first loading: the files as they are, without what is not lawful; and its way.

The import itself is ``producers.files.importer``. Afterwards the events are followed into the
ledger, and the ledger's obligations until İYS has answered all of them, so that the time that it
took stands beside the forecast.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.streams.ownership.positions import DecidedOffsets

_SQL = statements("onboarding")
_EVERY = 2.0
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCount:
    """What of some brands is not settled."""

    open: int
    """On its way to İYS."""
    for_person: int
    """Parked, held back by a brake, or suspended."""


OnOpen = Callable[[OpenCount], None]
Pause = Callable[[float], Awaitable[None]]


async def open_of(ledger: Ledger, brand_codes: Collection[int]) -> OpenCount:
    """Return what of these brands is not settled."""
    values = {"brand_codes": sorted(brand_codes)}
    (row,) = await ledger.fetch(_SQL["open"], values)
    return OpenCount(**row)


async def await_settled(
    ledger: Ledger,
    brand_codes: Collection[int],
    *,
    on_open: OnOpen,
    pause: Pause = asyncio.sleep,
) -> OpenCount:
    """Wait until nothing of these brands is on its way to İYS; return what waits for a person."""
    while True:
        found = await open_of(ledger, brand_codes)
        on_open(found)
        if not found.open:
            return found
        await pause(_EVERY)


async def await_ingested(
    ledger: Ledger,
    settings: KafkaSettings,
    codec: Codec,
    *,
    on_behind: Callable[[int], None],
    pause: Pause = asyncio.sleep,
) -> None:
    """Wait until the ledger has every event that is on the topics now; ``on_behind`` is called with
    how many are not ordered, and then with how many decisions it has not.

    Raises:
        BrokerError: Kafka cannot be read.
    """
    topics = settings.topics
    written = await _ends(settings, topics.events.name, topics.express.name)
    decided = DecidedOffsets(settings, codec)
    try:
        while behind := _behind(await asyncio.to_thread(decided.read), written):
            on_behind(behind)
            await pause(_EVERY)
    finally:
        decided.close()
    decisions = await _ends(settings, topics.decisions.name)
    while behind := _behind(await reads.ingested(ledger), decisions):
        on_behind(behind)
        await pause(_EVERY)


async def _ends(settings: KafkaSettings, *topics: str) -> dict[tuple[str, int], int]:
    return {
        (topic, number): end
        for topic in topics
        for number, end in (await asyncio.to_thread(kafka.committed_ends, settings, topic)).items()
    }


def _behind(positions: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> int:
    """Return how many offsets ``positions`` are short of ``ends``."""
    return sum(max(0, end - positions.get(place, 0)) for place, end in ends.items())
