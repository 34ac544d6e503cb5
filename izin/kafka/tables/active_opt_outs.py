"""The opt-outs (RET) that stand in ``desired-consents``, for millions of keys.

Only opt-outs are kept, 21 bytes each: a key is forgotten where a later record opens or erases it.
A bit for each recipient says at once of most others that they never opted out.
"""

from collections.abc import Collection, Sequence
from typing import Final

from confluent_kafka import Message

from izin.consent import Status
from izin.kafka.access import KafkaAccess
from izin.kafka.clients import watermarks
from izin.kafka.follower import RecordFollower, take_each
from izin.kafka.tables.packed_permissions import PackedPermissions, whole_seconds
from izin.runtime.plan import OnProgress, silent
from izin.schemas.codec import Codec, UndecodableError

_RET: Final = b"\x06RET"
"""How Avro writes the text RET: a record without these bytes is no opt-out, and is not decoded."""
_ANY_INSTANT: Final = 1
"""The second of an opt-out that cannot be read: every opt-in is newer."""

_BITS: Final = 1 << 25
"""4 MB: of a million opt-outs, three in a hundred other recipients are looked up in vain."""


class ActiveOptOuts:
    """The opt-outs that stand for keys of ``brands``."""

    def __init__(self, access: KafkaAccess, codec: Codec, brands: Collection[int]) -> None:
        self._access = access
        self._codec = codec
        self._brands = {str(brand).encode() for brand in brands}
        self._known = PackedPermissions()
        self._recipients = bytearray(_BITS >> 3)

    def __len__(self) -> int:
        return len(self._known)

    def load(self, on_read: OnProgress = silent) -> None:
        """Read the topic to its end.

        Raises:
            BrokerError: it cannot be read.
        """
        topic = self._access.topics.desired_consents
        total = sum(end for _, end in watermarks(self._access, topic.name).values())

        def moved() -> None:
            on_read(sum(follower.positions.values()), total)

        follower = RecordFollower(self._access, topic, self, moved=moved)
        follower.load()

    def may_have(self, recipient: str) -> bool:
        """Whether an opt-out may stand for ``recipient``, normalised; False: none, for any key."""
        bit = hash(recipient) % _BITS
        return bool(self._recipients[bit >> 3] >> (bit & 7) & 1)

    def opted_out_at(self, key: bytes) -> int | None:
        """Return from which second, since 1970, the opt-out of the canonical ``key`` counts; None:
        none stands.
        """
        known = self._known.find(key)
        return None if known is None else known.at

    def take(self, records: Sequence[Message]) -> int:
        """Take records of the topic until the schema of one cannot be fetched now."""
        return take_each(records, self._take)

    def _take(self, record: Message) -> None:
        key, value = record.key() or b"", record.value()
        if key.partition(b"/")[0] not in self._brands:
            return
        opted_out_at = None if value is None else self._opted_out_at(value)
        # The latest record of a key is its state, also where it says less than the one before.
        self._known.forget(key)
        if opted_out_at is not None:
            self._known.opt_out(key, opted_out_at)
            bit = hash(key.rpartition(b"/")[2].decode(errors="replace")) % _BITS
            self._recipients[bit >> 3] |= 1 << (bit & 7)

    def _opted_out_at(self, value: bytes) -> int | None:
        if _RET not in value:
            return None
        try:
            consent = self._codec.decode_consent(value)
        except UndecodableError:
            return _ANY_INSTANT
        return whole_seconds(consent.effective_at) if consent.status is Status.RET else None
