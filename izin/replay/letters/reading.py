"""Read dead letters one after the other, up to where their topic ends now: never all at once."""

from collections.abc import Callable, Generator

from izin.consent.errors import SourceError
from izin.kafka.bounded_reader import BoundedReader, OffsetGoneError
from izin.replay.letters.letter import Content, Letter, content_of, letter_of
from izin.replay.letters.selection import LetterSelection
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

OnProgress = Callable[[int, int], None]
"""Called with how much is done, of how much."""
_GROUP = "izin-dead-letters"


class UnknownLetterError(SourceError):
    """No dead letter has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no dead letter {name}; each has its name in: izin dead-letters list")


def silent(_done: int, _total: int) -> None:
    """Show no progress."""


class LetterReader:
    """Reads the dead letters of an installation."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._topic = settings.topics.dead_letters.name

    def ends(self) -> dict[int, int]:
        """Return where each partition of the topic ends now.

        Raises:
            BrokerError: Kafka cannot be read, or has no such topic.
        """
        return dict(kafka.committed_ends(self._settings, self._topic))

    def read(
        self, *, starts: dict[int, int] | None = None, progress: OnProgress = silent
    ) -> Generator[Letter, None, None]:
        """Yield the letters from ``starts`` (else from the beginning) on, each partition in its
        order.

        Raises:
            BrokerError: as ``ends``.
            OurError: the schema registry is out of reach.
        """
        ends = self.ends()
        begun = {number: (starts or {}).get(number, 0) for number in ends}
        reader = BoundedReader(self._settings, _GROUP, self._topic)
        total = sum(ends.values()) - sum(begun.values())
        try:
            with kafka.broker_errors(self._settings):
                for messages in reader.read(begun, ends):
                    for message in messages:
                        if message.value() is not None:
                            yield letter_of(message, self._codec)
                    progress(sum(reader.positions.values()) - sum(begun.values()), total)
        finally:
            reader.close()

    def select(
        self, selection: LetterSelection, *, progress: OnProgress = silent
    ) -> Generator[tuple[Letter, Content | None], None, None]:
        """Yield the letters that ``selection`` takes, with what can be read of each; raises as
        ``read``.
        """
        topics = self._settings.topics
        for letter in self.read(progress=progress):
            if selection.takes(letter):
                content = content_of(letter, self._codec, topics)
                if selection.takes_content(content):
                    yield letter, content

    def find(self, name: str) -> tuple[Letter, Content | None]:
        """Return the letter ``name`` (``partition/offset``), with what can be read of it.

        Raises:
            UnknownLetterError: there is none.
            BrokerError: as ``ends``.
        """
        partition, _, offset = name.partition("/")
        if not (
            partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()
        ):
            raise UnknownLetterError(name)
        number, place = int(partition), int(offset)
        if place >= self.ends().get(number, 0):
            raise UnknownLetterError(name)
        reader = BoundedReader(self._settings, _GROUP, self._topic)
        try:
            with kafka.broker_errors(self._settings):
                for messages in reader.read({number: place}, {number: place + 1}):
                    for message in messages:
                        if message.offset() == place and message.value() is not None:
                            letter = letter_of(message, self._codec)
                            return letter, content_of(letter, self._codec, self._settings.topics)
        except OffsetGoneError:
            pass
        finally:
            reader.close()
        raise UnknownLetterError(name)
