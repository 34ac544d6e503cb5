"""A reader of a topic is closed only when the thread of its poll has ended."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from izin.sinks.ingest.topic_reader import TopicReader


@dataclass
class Client:
    """A consumer that is busy until it is let go; what it was asked for, in order."""

    going: threading.Event = field(default_factory=threading.Event)
    polling: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)

    def consume(self, _most: int, _wait: float) -> list[object]:
        """Return nothing, once let go."""
        self.polling.set()
        self.going.wait(10)
        self.calls.append("consumed")
        return []

    def close(self) -> None:
        """Take it."""
        self.calls.append("closed")


async def test_close_waits_for_a_cancelled_poll() -> None:
    """The consumer must not be closed while a thread still polls it."""
    client = Client()
    reader = TopicReader(client, topic="t", topic_id="1", positions={0: 0})  # type: ignore[arg-type]
    poll = asyncio.create_task(reader.poll(10, 5))
    await asyncio.to_thread(client.polling.wait, 10)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    closing = asyncio.create_task(reader.close())
    await asyncio.sleep(0)
    client.going.set()
    await closing
    assert client.calls == ["consumed", "closed"]
