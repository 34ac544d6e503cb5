"""An address book as a company exports it, and what an import publishes of it, in a file.

The book has three brands, and rows that are too old, there twice, or bad. The file of events is
read by the order stage, as a topic would be.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from izin.consent import TURKEY, ConsentEvent, ConsentKey
from izin.producers.publishing.publisher import Published, PublishResult
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro, event_to_avro

HEADER = "ALICI;İZİN TÜRÜ;İZİN DURUMU;İZİN KAYNAĞI;İZİN TARİHİ;MARKA"
WILD = (
    *("01.01.0001 00:00:00", "31.12.1899 23:59:59", "01.01.1970 00:00:00", "31.12.9999 23:59:59"),
    *("29.02.2104 12:00:00", "00.00.0000 00:00:00", "31.12.12026 10:00:00", "30.02.2026 10:00:00"),
    *("1772442000000", "1772442000000000", "-62135596800000", "46083,5", "0", "10:00:00", "-"),
)
"""Dates of other eras, units and calendars, and what is none."""
_TOO_SHORT = "0555 12"
_CHANNELS = (("MESAJ", 6), ("ARAMA", 2), ("EPOSTA", 4))
_RECORD = "ConsentEvent"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressFile:
    """How the file is made; the same for the same seed."""

    rows: int
    seed: int
    brands: Sequence[int]
    now: datetime

    def write(self, path: Path) -> None:
        """Write it to ``path``."""
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(HEADER + "\r\n")
            file.writelines(f"{line}\r\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        chance = random.Random(self.seed)
        people = max(1, int(self.rows * 0.9))
        for _ in range(self.rows):
            person = chance.randrange(people)
            (channel,) = chance.choices(
                [name for name, _ in _CHANNELS], [weight for _, weight in _CHANNELS]
            )
            brand = chance.choice(self.brands)
            status = "RET" if chance.random() < 0.03 else "ONAY"  # a share
            given_at = f"{self._given_at(chance):%d.%m.%Y %H:%M:%S}"
            if chance.random() < 0.01:  # a share too
                given_at = chance.choice(WILD)
            recipient = _recipient(person, channel, is_bad=chance.random() < 0.005)  # the same
            yield f"{recipient};{channel};{status};HS_WEB;{given_at};{brand}"

    def _given_at(self, chance: random.Random) -> datetime:
        """Return when a consent was given: most within three days, some years ago."""
        share = chance.random()
        if share < 0.75:  # a share, as those that follow
            age = timedelta(seconds=chance.randrange(60, 2 * 24 * 3600))
        elif share < 0.8:
            age = timedelta(seconds=chance.randrange(2 * 24 * 3600, 10 * 24 * 3600))
        elif share < 0.95:
            age = timedelta(days=chance.randrange(10, 1900))
        else:
            age = timedelta(days=chance.randrange(2000, 4000))
        return (self.now - age).astimezone(TURKEY)


def _recipient(person: int, channel: str, *, is_bad: bool) -> str:
    """Return an obviously fake address, or one that is none."""
    if is_bad:
        return "-" if channel == "EPOSTA" else _TOO_SHORT
    return f"p{person}@example.com" if channel == "EPOSTA" else f"+90555{person:07d}"


def is_fit(recipient: str) -> bool:
    """Return whether a recipient of the file is one."""
    return recipient not in {"-", _TOO_SHORT}


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
