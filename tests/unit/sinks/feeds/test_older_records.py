"""FairPlaces: who reads older records waits as long as others, however much they ask."""

import asyncio

import pytest
from confluent_kafka import KafkaError

from izin.runtime.settings import KafkaSettings
from izin.sinks.feeds import older_records
from izin.sinks.feeds.older_records import BusyReadersError, FairPlaces, OlderRecords


async def test_keys_have_their_turns_one_after_the_other() -> None:
    """A key with twenty requests does not delay the one request of another by twenty."""
    turns, served = FairPlaces(1), list[str]()
    release = asyncio.Event()

    async def ask(name: str) -> None:
        async with turns.place(name):
            served.append(name)
            await release.wait()

    tasks = [asyncio.create_task(ask(name)) for name in [*["busy"] * 20, "other", "third"]]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(*tasks)
    assert served[:4] == ["busy", "busy", "other", "third"]
    assert len(served) == 22


async def test_only_so_many_have_a_place_at_once() -> None:
    """Each has a consumer, and a thread."""
    turns, inside = FairPlaces(3), 0
    most = 0

    async def ask(name: str) -> None:
        nonlocal inside, most
        async with turns.place(name):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(ask(f"key-{number % 5}") for number in range(30)))
    assert (most, inside) == (3, 0)


async def test_place_of_one_that_gave_up_is_passed_on() -> None:
    """Whether it was waiting, or was being given the place."""
    turns = FairPlaces(1)
    for wait in (1, 2):
        held = turns.place("first")
        await held.__aenter__()
        gone = asyncio.create_task(enter(turns, "gone"))
        after = asyncio.create_task(enter(turns, "after"))
        await asyncio.sleep(0)
        if wait == 1:
            gone.cancel()
            await held.__aexit__(None, None, None)
        else:
            await held.__aexit__(None, None, None)
            gone.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(gone, after, return_exceptions=True)
        assert gone.cancelled()
        assert after.done()
        assert not after.cancelled()


async def test_request_gives_up_where_others_take_too_long(monkeypatch: pytest.MonkeyPatch):
    """It is answered then, and its place in the queue is free."""
    monkeypatch.setattr(older_records, "_PLACE_WITHIN", 0.05)
    reader = OlderRecords(KafkaSettings(), readers=1)
    async with reader._turns.place("busy"):
        with pytest.raises(BusyReadersError):
            await reader.read("topic", {0: 0}, 1, name="other")
    async with asyncio.timeout(5), reader._turns.place("third"):
        pass


async def enter(turns: FairPlaces, name: str) -> None:
    """Have a place for a moment."""
    async with turns.place(name):
        pass


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
