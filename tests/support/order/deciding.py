"""Decide what the lanes have, in this process, as an order worker would."""

import asyncio
from collections.abc import Mapping
from contextlib import closing

from izin.kafka.bounded_reader import BoundedReader
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.streams.order import OrderStage
from izin.streams.ownership import LanePosition, OwnedPartition, SharedClients
from izin.streams.state.state import MemoryState
from tests.support.order.verdict import source


def decide_all(
    settings: KafkaSettings,
    suppressions: SuppressionKeys = NO_SUPPRESSIONS,
    *,
    at_once: int = 40,
) -> None:
    """Decide all undecided records of both lanes, a batch of each in turn."""
    asyncio.run(_decide_all(settings, suppressions, at_once))


async def _decide_all(settings: KafkaSettings, suppressions: SuppressionKeys, at_once: int) -> None:
    codec = Codec()
    stage = OrderStage(
        topics=settings.topics,
        partitions=settings.partitions,
        codec=codec,
        suppressions=suppressions,
    )
    with closing(SharedClients(settings, StreamSettings().group(settings))) as clients:
        for number in range(settings.partitions):
            owned = OwnedPartition(
                number,
                clients=clients,
                codec=codec,
                state=MemoryState(),
                suppressions=suppressions,
            )
            await owned.acquire()
            await _decide(settings, stage, owned, at_once)
            owned.release()
            await owned.closed()


async def _decide(
    settings: KafkaSettings, stage: OrderStage, owned: OwnedPartition, size: int
) -> None:
    waiting = _undecided(settings, owned.number, owned.next_offsets)
    while any(waiting.values()):
        for lane, records in waiting.items():
            batch, waiting[lane] = records[:size], records[size:]
            if batch:
                effects = stage.fold(owned.number, batch, owned.state)
                await owned.commit(effects, {lane: LanePosition(batch[-1].offset + 1)})


def _undecided(settings: KafkaSettings, number: int, starts: Mapping[str, int]) -> dict[str, list]:
    found: dict[str, list] = {}
    for lane, start in starts.items():
        end = kafka.committed_ends(settings, lane)[number]
        reader = BoundedReader(settings, "deciding", lane)
        with closing(reader):
            found[lane] = [
                source(message)
                for messages in reader.read({number: start}, {number: end})
                for message in messages
            ]
    return found
