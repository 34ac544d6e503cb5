"""Reading ``consents`` back into a state, from where it stands to the end of the committed part.

A row that is no state of ours, or that a newer law decided, stops the worker: nothing is guessed.
Millions of rows are read while other partitions wait for the same processor, so a row as we write
it becomes a consent on a short way; any other takes the codec's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from izin.consent.errors import SourceError
from izin.consent.making import maker
from izin.consent.model import (
    LAW_VERSION,
    Channel,
    Consent,
    ConsentKey,
    OriginRank,
    RecipientType,
    Status,
)
from izin.runtime import kafka
from izin.runtime.observe import get_logger
from izin.schemas import contracts
from izin.schemas.avro_reader import reader_of
from izin.schemas.records import consent_from_avro
from izin.streams.errors import StateError

if TYPE_CHECKING:
    from izin.runtime.settings import KafkaSettings
    from izin.schemas.codec import Codec
    from izin.streams.state import State

_TIMEOUT = 20.0
_AT_ONCE = 5000
_WAIT = 0.05
"""librdkafka waits so long for a full helping, even at the end of the topic."""

_log = get_logger(__name__)


_CHANNELS = {one.value: one for one in Channel}
_RECIPIENT_TYPES = {one.value: one for one in RecipientType}
_STATUSES = {one.value: one for one in Status}
_ORIGIN_RANKS = {one.value: one for one in OriginRank}
_consent = maker(Consent)
_key = maker(ConsentKey)


def _made(  # noqa: PLR0913  # the fields of the contract, by their names
    *,
    brand_code: int,
    type: str,  # noqa: A002  # the contract's name
    recipient_type: str,
    recipient: str,
    status: str,
    previous_status: str | None,  # noqa: ARG001  # follows from the others
    origin_rank: int,
    **others: Any,  # noqa: ANN401  # the fields whose names and values are ours
) -> Consent:
    """Return the consent of these fields; raises KeyError for a word that the law does not know."""
    return _consent(
        key=_key(
            brand_code=brand_code,
            channel=_CHANNELS[type],
            recipient_type=_RECIPIENT_TYPES[recipient_type],
            recipient=recipient,
        ),
        status=_STATUSES[status],
        origin_rank=_ORIGIN_RANKS[origin_rank],
        **others,
    )


_read = reader_of(contracts.current()["Consent"].schema, {"Consent": _made})


class Changelog:
    """The partition ``number`` of ``consents``, as it is read back."""

    def __init__(self, number: int, settings: KafkaSettings, group: str, codec: Codec) -> None:
        self._number = number
        self._settings = settings
        self._group = group
        self._codec = codec
        self._header = codec.header("Consent")

    def read(self, state: State, topic: str, end: int) -> None:
        """Bring ``state`` up to ``end``; raises KafkaException and StateError."""
        reader = kafka.consumer(
            self._settings,
            f"{self._group}-state",
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # The end is told by an empty fetch, which the broker holds back for so long.
                "fetch.wait.max.ms": 10,
            },
        )
        try:
            start = state.position or OFFSET_BEGINNING
            reader.assign([TopicPartition(topic, self._number, start)])
            silent = 0.0
            while state.position < end:
                rows: dict[bytes, Consent | None] = {}
                position = state.position
                messages = reader.consume(_AT_ONCE, _WAIT)
                silent = 0.0 if messages else silent + _WAIT
                if silent >= _TIMEOUT:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
                for message in messages:
                    error = message.error()
                    if error is None:
                        offset = message.offset() or 0
                        rows[message.key() or b""] = self._row(message.value(), offset)
                        position = offset + 1
                    elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # librdkafka's name for it
                        # Transaction markers and compaction leave offsets that no record has.
                        position = max(position, message.offset() or 0)
                    elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # the same
                        _log.warning(
                            "the state's place is gone; reading all of it", partition=self._number
                        )
                        state.clear()
                        rows, position = {}, 0
                        reader.assign([TopicPartition(topic, self._number, OFFSET_BEGINNING)])
                    else:
                        raise KafkaException(error)
                state.restore(rows, position)
        finally:
            reader.close()

    def _row(self, value: bytes | None, offset: int) -> Consent | None:
        if value is None:
            return None
        try:
            consent = self._consent(value)
        except (SourceError, ValueError) as error:
            raise StateError(f"consents[{self._number}]@{offset} is no state of ours") from error
        if consent.law_version > LAW_VERSION:
            raise StateError(
                f"consents[{self._number}]@{offset} was decided by law version "
                f"{consent.law_version}, this release knows {LAW_VERSION}; start the newer release"
            )
        return consent

    def _consent(self, value: bytes) -> Consent:
        if value.startswith(self._header):
            try:
                found, end = _read(value, len(self._header))
            except Exception:  # noqa: BLE001  # wrong or unusual: the codec judges it
                end = -1
            if end == len(value):
                return cast("Consent", found)
        return consent_from_avro(self._codec.decode("Consent", value))
