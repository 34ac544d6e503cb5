"""The merchants (TACIR) who had opted out when they were erased: the topic ``opted-out-merchants``.

The order stage writes a keyed digest of each key (``schemas.erasure``). Where a merchant need not
be registered, nobody else knows that the answer is no.
"""

from collections.abc import Sequence

from confluent_kafka import Message

from izin.consent.model import ConsentKey, RecipientType
from izin.schemas.erasure import SuppressionKeys


class ErasedMerchants:
    """Their digests, under the secrets of the installation. Written by one thread, read by any."""

    def __init__(self, keys: SuppressionKeys) -> None:
        self._keys = keys
        self._digests: set[bytes] = set()
        self.foreign = 0
        """Those under a secret that is not among ``keys``: anybody may be one of them."""

    def take(self, records: Sequence[Message]) -> int:
        """Take all records: of each, the key says everything."""
        for record in records:
            key = record.key() or b""
            if key not in self._digests:
                self._digests.add(key)
                self.foreign += not key.startswith(self._keys.prefixes)
        return len(records)

    def covers(self, key: ConsentKey) -> bool:
        """Whether ``key``, of which nothing else is known, may be one of them."""
        if key.recipient_type is not RecipientType.TACIR or not self._digests:
            return False
        return self.foreign > 0 or not self._digests.isdisjoint(self._keys.every(key.encode()))
