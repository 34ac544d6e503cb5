"""The clients of a publisher in one process, from its first event until it closes."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from confluent_kafka import KafkaException

from izin.consent.violations import Violation
from izin.producers.new_event import utc_now
from izin.producers.publishing.event_publisher import (
    Published,
    PublishResult,
    Resolve,
    UndeliveredError,
)
from izin.producers.publishing.kafka_publisher import KafkaPublisher
from izin.projections.brand_directory import BrandDirectory, BrandReader
from izin.runtime.errors import SettingError
from izin.runtime.kafka_environment import KafkaAccess

_RECORD = "ConsentEvent"


class PublisherSession:
    """The clients of one process, connected.

    Raises:
        BrokerError: Kafka cannot be reached, or has no topic ``brands``.
        RegistryError: the schema registry cannot be used.
        SettingError: Kafka's client does not take the options.
    """

    def __init__(self, access: KafkaAccess, timeout: timedelta, linger: timedelta) -> None:
        codec = access.codec(writes=(_RECORD,))
        self.lost: list[str] = []
        """The ids of the events that were not acknowledged since it began to close."""
        self.is_closing = False
        with _checked_options(), ExitStack() as stack:
            stack.callback(codec.close)
            brands = BrandReader(access, codec)
            self.brands: BrandDirectory = stack.enter_context(brands.follow())
            self.publisher = KafkaPublisher(
                access, codec, clock=utc_now, delivery_timeout=timeout, linger=linger
            )
            self._following = stack.pop_all()

    def close(self, timeout: timedelta) -> tuple[str, ...]:
        """Flush and disconnect; return the ids of events that were not acknowledged."""
        self.is_closing = True
        with self._following:
            self.publisher.close(timeout)
        return tuple(self.lost)


class Settle(Resolve):
    """Resolves the future of an event of a session, and notes what is lost when it closes."""

    __slots__ = ("_session",)

    def __init__(
        self,
        future: Future[Published],
        violations: tuple[Violation, ...],
        session: PublisherSession,
    ) -> None:
        super().__init__(future, violations)
        self._session = session

    def __call__(self, result: PublishResult) -> None:
        """Take the result of the event."""
        if self._session.is_closing and isinstance(result, UndeliveredError):
            self._session.lost.append(result.event_id)
        super().__call__(result)


@contextmanager
def _checked_options() -> Iterator[None]:
    """Raise SettingError where the block makes a client of Kafka with options that it refuses."""
    try:
        yield
    except KafkaException as error:
        raise SettingError(
            f"Kafka's client does not take an option: {error.args[0].str()}; correct it"
        ) from error
