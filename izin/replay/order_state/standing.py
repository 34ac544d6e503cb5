"""The rows of a partition of ``desired-consents`` as they stand: the latest of each key."""

from collections.abc import Callable
from dataclasses import dataclass, field

from izin.kafka.bounded_reader import BoundedReader
from izin.replay.order_state.planning import Installation
from izin.replay.order_state.rows import CanonicalRows
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SUPPRESSED, SuppressionKeys
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.streams.errors import StateError


@dataclass(slots=True)
class StandingRows:
    """What a partition has."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    """By canonical key, in the form of ``rows``; as it is where it is no row."""
    suppressions: dict[bytes, int] = field(default_factory=dict)
    """By key: until which instant (milliseconds since 1970) opt-ins are suppressed."""


def read_standing(
    installation: Installation, number: int, end: int, advance: Callable[[int], None]
) -> StandingRows:
    """Return what partition ``number`` has below ``end``; ``advance`` gets how many records were
    read, some at a time.

    Raises KafkaException, and StateError for a suppression under an unknown secret.
    """
    settings, codec = installation.kafka, installation.codec
    found, canonical = StandingRows(), CanonicalRows(codec)
    suppressions, topic = installation.suppressions, settings.topics.desired_consents.name
    reader = BoundedReader(settings, "izin-replay", topic)
    try:
        for messages in reader.read({number: 0}, {number: end}):
            for one in messages:
                key, value = one.key() or b"", one.value()
                if (one.offset() or 0) >= end:
                    continue
                if key.startswith(SUPPRESSED):
                    _suppress(found, codec, suppressions, key, value)
                elif value is None:
                    found.rows.pop(key, None)
                else:
                    found.rows[key] = _canonical(canonical, key, value)
            advance(len(messages))
    finally:
        reader.close()
    return found


def _canonical(canonical: CanonicalRows, key: bytes, value: bytes) -> bytes:
    try:
        return canonical.of_value(key, value)
    except UndecodableError:  # somebody else wrote it: it differs from whatever should stand
        return value


def _suppress(
    found: StandingRows,
    codec: Codec,
    suppressions: SuppressionKeys,
    key: bytes,
    value: bytes | None,
) -> None:
    if value is None:
        found.suppressions.pop(key, None)
        return
    if not key.startswith(suppressions.prefixes):
        raise StateError(
            "desired-consents says that a key was erased, under a secret that "
            "IZIN_SUPPRESSION_SECRETS does not have; set it as the order workers have it"
        )
    at = codec.decode("Consent", value)["effective_at"]
    found.suppressions[key] = (at - EPOCH) // MILLISECOND
