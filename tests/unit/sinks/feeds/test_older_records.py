"""OlderRecords: who reads older records waits as long as others, however much they ask."""

import asyncio
from collections.abc import Mapping

import pytest
from confluent_kafka import KafkaError

from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import KafkaSettings
from izin.sinks.feeds import older_records
from izin.sinks.feeds.older_records import OlderRecords
from izin.sinks.feeds.protocol import Stretch


class SlowRecords(OlderRecords):
    """Reads nothing, once the test lets it; its topics are named like the keys that ask."""

    def __init__(self, readers: int) -> None:
        super().__init__(KafkaSettings(), readers=readers)
        self.served: list[str] = []
        self.inside = self.most = 0
        self.release = asyncio.Event()

    async def ask(self, name: str) -> None:
        """Read for a key."""
        await self.read(name, {0: 0}, 1, name=name)

    async def _read(self, topic: str, *_: object) -> Mapping[int, Stretch]:
        self.served.append(topic)
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.release.wait()
        await asyncio.sleep(0)
        self.inside -= 1
        return {}


@pytest.mark.parametrize("readers", [1, 3])
async def test_key_with_many_requests_does_not_delay_another(readers: int) -> None:
    """Before the one request of another there are at most as many as are read at once."""
    reader = SlowRecords(readers)
    names = [*["busy"] * 20, "other", "third"]
    tasks = [asyncio.create_task(reader.ask(name)) for name in names]
    await asyncio.sleep(0)
    reader.release.set()
    await asyncio.gather(*tasks)
    assert sorted(reader.served) == names
    assert reader.served.index("other") <= readers
    assert reader.served.index("third") <= readers + 1
    assert (reader.most, reader.inside) == (readers, 0)


async def test_turn_of_one_that_gave_up_is_passed_on() -> None:
    """Its request was cancelled while it waited."""
    reader = SlowRecords(1)
    tasks = [asyncio.create_task(reader.ask(name)) for name in ("first", "gone", "after")]
    await asyncio.sleep(0)
    tasks[1].cancel()
    reader.release.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert reader.served == ["first", "after"]


async def test_request_gives_up_where_others_take_too_long(monkeypatch: pytest.MonkeyPatch):
    """It is answered then, and its place in the queue is free."""
    monkeypatch.setattr(older_records, "_TURN_WITHIN", 0.05)
    reader = SlowRecords(1)
    busy = asyncio.create_task(reader.ask("busy"))
    await asyncio.sleep(0)
    with pytest.raises(RequestRefusedError, match="too many requests"):
        await reader.ask("other")
    reader.release.set()
    async with asyncio.timeout(5):
        await asyncio.gather(busy, reader.ask("third"))


class EndOf:
    """The message by which Kafka's client says that a partition ended."""

    def __init__(self, partition: int, offset: int) -> None:
        self.partition = lambda: partition
        self.offset = lambda: offset
        self.error = lambda: KafkaError(KafkaError._PARTITION_EOF)  # its public spelling


class LateClient:
    """A consumer that still hands over the end of a partition of the stretch before."""

    def consume(self, most: int, _: float) -> list[EndOf]:
        """Return both ends at once."""
        return [EndOf(0, 7), EndOf(1, 5)] if most == 1 else []


def test_end_of_the_stretch_before_is_no_fault() -> None:
    """It says nothing of the partitions that are read now."""
    found = older_records._stretches(LateClient(), "topic", {1: 3}, 10)
    assert found == {1: older_records.Stretch([], 5, True)}
