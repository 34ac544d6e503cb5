"""What is known of each key, in 21 bytes, for millions of them.

Sixteen are a digest of the key: no recipient is in memory, and two keys share one with a
probability that does not matter. One is whether we may send, and the reason; four are an instant in
whole seconds: of an answer that permits, the consent's; of one that denies, the latest opt-out's.
A dict would take eight times as much. Digests spread keys over the buckets evenly, and a bucket is
searched by ``bytearray.find``: more buckets make a search shorter, and take room of their own.
"""

import sys
import threading
from datetime import datetime
from hashlib import blake2b
from typing import Final, NamedTuple

from izin.consent.may_send import PermissionReason
from izin.schemas.fast.writer import EPOCH

_BUCKETS: Final = 4096
_SAMPLE: Final = 64
_DIGEST: Final = 16
_SLOT: Final = 21
_MAY_SEND: Final = 0x80
_MOST_REASONS: Final = 0x80
_ANY: Final = ""
"""The reason where there are too many different ones."""
_LAST_SECOND: Final = (1 << 32) - 1
_OPTED_OUT: Final[str] = PermissionReason.OPTED_OUT.value


class PermissionFacts(NamedTuple):
    """What is kept of a permission."""

    may_send: bool
    reason: str
    consent_at: int
    """Seconds since 1970 from when the consent counts that İYS holds; 0 where it is not said.

    Of the consent's own date and that of its registration the earlier: it is the one that an
    opt-out must not be later than.
    """
    retailers: str | None
    """Codes with commas between them; None: none may use it."""


class Known(NamedTuple):
    """What is known of a key."""

    may_send: bool
    reason: str
    at: int
    """Seconds since 1970: of the consent that permits, else of the latest opt-out, 0 if none."""


class _Slot(NamedTuple):
    """Where a key has its place, and what is there."""

    bucket: bytearray
    digest: bytes
    at: int | None
    """None: it has none yet."""
    known: Known | None


class PackedPermissions:
    """What is known, by canonical key. Written by some threads, read by any.

    It has so many ``buckets``, 65,536 at most.
    """

    def __init__(self, buckets: int = _BUCKETS) -> None:
        self._buckets = [bytearray() for _ in range(buckets)]
        self._reasons: list[str] = [_ANY, *(one.value for one in PermissionReason)]
        self._flags = {reason: number for number, reason in enumerate(self._reasons)}
        self._lock = threading.Lock()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """About how many bytes it takes: digests spread keys evenly, so some buckets tell."""
        some = self._buckets[:_SAMPLE]
        return sum(map(sys.getsizeof, some)) * len(self._buckets) // len(some)

    def __sizeof__(self) -> int:
        return sum(map(sys.getsizeof, self._buckets))

    def find(self, key: bytes) -> Known | None:
        """Return what is known of ``key``."""
        return self.find_digest(digest_of(key))

    def find_digest(self, digest: bytes) -> Known | None:
        """Return what is known of the key of ``digest``."""
        bucket = self._bucket(digest)
        with self._lock:
            at = _find(bucket, digest)
            return None if at is None else self._unpacked(bucket, at)

    def put(self, key: bytes, facts: PermissionFacts) -> bool:
        """Note what the ledger says of ``key``; return whether it changes the answer."""
        if facts.may_send:
            return self.permit(key, facts.reason, facts.consent_at)
        return self.deny(key, facts.reason)

    def permit(self, key: bytes, reason: str, consent_at: int) -> bool:
        """Note a permission, by a consent at ``consent_at`` seconds; return whether it changes the
        answer.

        It counts only if the consent is newer than the latest opt-out: the permission may have been
        published by a ledger that did not know of it yet. The same second is not newer.
        """
        with self._lock:
            slot = self._slot(key)
            known = slot.known
            if known is not None and _closes(known, consent_at):
                return self._put(slot, _OPTED_OUT, known.at)
            return self._put(slot, reason, consent_at, may_send=True)

    def is_closed(self, key: bytes, consent_at: int) -> bool:
        """Return whether an opt-out is known that a consent at ``consent_at`` is not newer than."""
        known = self.find(key)
        return known is not None and _closes(known, consent_at)

    def deny(self, key: bytes, reason: str) -> bool:
        """Note that there is no permission; return whether that changes the answer."""
        with self._lock:
            slot = self._slot(key)
            known = slot.known
            opted_out_at = 0 if known is None or known.may_send else known.at
            return self._put(slot, reason, opted_out_at)

    def opt_out(self, key: bytes, opted_out_at: int) -> bool:
        """Note an opt-out at ``opted_out_at`` seconds; return whether it changes the answer.

        A permission by a newer consent stays: the opt-out is an old one that is read again.
        """
        with self._lock:
            slot = self._slot(key)
            known = slot.known
            if known is not None and known.at > opted_out_at:
                return False
            return self._put(slot, _OPTED_OUT, opted_out_at)

    def remove(self, key: bytes) -> bool:
        """Forget ``key`` but for its latest opt-out; return whether that changes the answer.

        Of that, nothing but the opt-out is known from then on.
        """
        with self._lock:
            slot = self._slot(key)
            known = slot.known
            if known is None:
                return False
            if not known.may_send and known.at:
                return self._put(slot, _OPTED_OUT, known.at)
            self._drop(slot)
            return known.may_send

    def forget(self, key: bytes) -> None:
        """Forget all of ``key``, its latest opt-out too."""
        with self._lock:
            self._drop(self._slot(key))

    def _slot(self, key: bytes) -> _Slot:
        digest = digest_of(key)
        bucket = self._bucket(digest)
        at = _find(bucket, digest)
        return _Slot(bucket, digest, at, None if at is None else self._unpacked(bucket, at))

    def _drop(self, slot: _Slot) -> None:
        if slot.at is not None:
            del slot.bucket[slot.at : slot.at + _SLOT]
            self._count -= 1

    def _bucket(self, digest: bytes) -> bytearray:
        return self._buckets[(digest[0] << 8 | digest[1]) % len(self._buckets)]

    def _unpacked(self, bucket: bytearray, at: int) -> Known:
        flags = bucket[at + _DIGEST]
        seconds = int.from_bytes(bucket[at + _DIGEST + 1 : at + _SLOT], "big")
        reason = self._reasons[flags & (_MAY_SEND - 1)]
        return Known(bool(flags & _MAY_SEND), reason, seconds)

    def _put(self, slot: _Slot, reason: str, seconds: int, *, may_send: bool = False) -> bool:
        bucket, digest, at, known = slot
        flags = self._reason(reason) | (_MAY_SEND if may_send else 0)
        state = bytes((flags,)) + min(max(seconds, 0), _LAST_SECOND).to_bytes(4, "big")
        if at is None:
            bucket += digest + state
            self._count += 1
        else:
            bucket[at + _DIGEST : at + _SLOT] = state
        return known is None or (known.may_send, known.reason) != (may_send, reason)

    def _reason(self, reason: str) -> int:
        number = self._flags.get(reason)
        if number is None:
            number = len(self._reasons)
            if number == _MOST_REASONS:
                return 0
            self._reasons.append(reason)
            self._flags[reason] = number
        return number


def digest_of(key: bytes) -> bytes:
    """Return the digest of a canonical key."""
    return blake2b(key, digest_size=_DIGEST).digest()


def _find(bucket: bytearray, digest: bytes) -> int | None:
    at = bucket.find(digest)
    while at > 0 and at % _SLOT:
        at = bucket.find(digest, at + 1)
    return None if at < 0 else at


def _closes(known: Known, consent_at: int) -> bool:
    """Whether the latest opt-out stands against a consent at ``consent_at``, in whole seconds."""
    return not known.may_send and 0 < known.at >= consent_at


def whole_seconds(instant: datetime) -> int:
    """Return the whole seconds from 1970 to ``instant``."""
    return int((instant - EPOCH).total_seconds() // 1)
