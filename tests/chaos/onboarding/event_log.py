"""Events in a file, as a topic keeps them: what an import publishes, read by the order stage."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from izin.consent import ConsentEvent, ConsentKey
from izin.producers.publishing.publisher import Published, PublishResult
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro, event_to_avro

_RECORD = "ConsentEvent"


class EventLog:
    """A publisher that writes to a file; a context manager."""

    def __init__(self, path: Path, codec: Codec) -> None:
        self._path = path
        self._codec = codec
        self._file = path.open("wb")
        self.rows: set[int] = set()
        """The rows of the imported file whose event was published."""
        self.written = 0

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,  # noqa: ARG002  # one partition has all
        on_result: Callable[[PublishResult], None],
        *,
        wait: timedelta = timedelta(0),  # noqa: ARG002  # nothing is ever full here
    ) -> None:
        """Write an event, and acknowledge it."""
        value = self._codec.encode(_RECORD, event_to_avro(event))
        self._file.write(len(value).to_bytes(4, "big") + value)
        self.rows.add(event.row or 0)
        result = Published(
            event_id=event.event_id, topic="consent-events", partition=0, offset=self.written
        )
        self.written += 1
        on_result(result)

    def publish(
        self, event: ConsentEvent, key: ConsentKey | None = None, *, wait: timedelta = timedelta(0)
    ) -> Future[Published]:
        """Write an event; the future is done."""
        done: Future[Published] = Future()
        self.send(event, key, done.set_result, wait=wait)  # type: ignore[arg-type]
        return done

    def flush(self, timeout: timedelta) -> int:  # noqa: ARG002  # all is acknowledged already
        """Write what is buffered."""
        self._file.flush()
        return 0

    def bulk(self) -> AbstractContextManager[None]:
        """Return a context without effect."""
        return nullcontext()

    def batches(self, size: int) -> Iterator[list[ConsentEvent]]:
        """Yield the events, so many at a time."""
        with self._path.open("rb") as file:
            batch: list[ConsentEvent] = []
            while head := file.read(4):
                value = file.read(int.from_bytes(head, "big"))
                batch.append(event_from_avro(self._codec.decode(_RECORD, value)))
                if len(batch) == size:
                    yield batch
                    batch = []
            if batch:
                yield batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
