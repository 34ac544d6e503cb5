"""The suppressions of erased keys, read before anything is restored: nobody comes back.

They stand in the topic of desired consents, as digests (``schemas.erasure``). An opt-in that is not
later than the erasure counts no more, whichever copy of the past has it.
"""

from collections.abc import Mapping
from datetime import datetime

from izin.consent import Consent, Status
from izin.ledger.record import UnknownSuppressionError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SUPPRESSED, SuppressionKeys
from izin.sinks.ingest.topic_reader import every_record


class Suppressions:
    """Until when the opt-ins of erased keys count no more."""

    def __init__(self, keys: SuppressionKeys, until: Mapping[bytes, datetime]) -> None:
        self._keys = keys
        self._until = until

    def __len__(self) -> int:
        """How many keys are suppressed."""
        return len(self._until)

    def until(self, key: str) -> datetime | None:
        """Return until when the opt-ins of ``key`` are suppressed; None: it was not erased."""
        if not self._until:
            return None
        digests = self._keys.every(key.encode())
        found = [self._until[one] for one in digests if one in self._until]
        return max(found, default=None)

    def covers(self, consent: Consent) -> bool:
        """Whether ``consent`` is an opt-in that counts no more."""
        if consent.status is not Status.ONAY:
            return False
        until = self.until(str(consent.key))
        return until is not None and consent.effective_at <= until


async def read_suppressions(
    settings: KafkaSettings, codec: Codec, keys: SuppressionKeys
) -> Suppressions:
    """Return the suppressions in the topic of desired consents.

    Raises:
        UnknownSuppressionError: one was made under a secret that is not among ``keys``.
        StreamUnavailableError: Kafka cannot be reached.
        UndecodableError: one cannot be read.
    """
    until: dict[bytes, datetime] = {}
    async for message in every_record(settings, settings.topics.desired_consents.name):
        key, value = message.key() or b"", message.value()
        if not key.startswith(SUPPRESSED):
            continue
        if not key.startswith(keys.prefixes):
            raise UnknownSuppressionError(message.partition() or 0, message.offset() or 0)
        if value is None:
            until.pop(key, None)
        else:
            until[key] = codec.decode("Consent", value)["effective_at"]
    return Suppressions(keys, until)
