"""What the gate knows, in memory: read from Kafka at its start, and followed from then on.

Of a key it knows the ledger's answer (``permissions``), opt-outs that are decided and that the
ledger may not know yet (``consent-decisions``, from where ``ledger-positions`` says it has taken
them), and such as are not decided yet (both input lanes, from where ``order-positions`` says they
are). It is current where each of these topics was seen read to its end a short time ago: the end of
all records, committed or not, so a transaction that does not end makes the keys of its partition
stale, and no others.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from izin.consent import Channel, ConsentKey, RecipientType
from izin.consent.may_send import PermissionReason, unregistered
from izin.gate.key_tables import KnownKeys
from izin.gate.sources import GateSources
from izin.kafka.tables.brand_directory import RegisteredBrand
from izin.kafka.tables.latest_records import ForeignTokenError, Wakeup, check_token
from izin.kafka.tables.packed_permissions import digest_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.schemas.partitioning import partition_of

__all__ = ("ForeignTokenError", "GateState", "KeyFacts", "StateCounts")

_MARK_BYTES = 250
"""About what an undecided opt-out takes."""
_CONSENTED = frozenset({PermissionReason.AWAITING_IYS, PermissionReason.VOID})
"""What the ledger says of a consent: it is newer than the opt-out, or the ledger does not know that
yet. Both mean no, and nothing but the next permission tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What is known of one key."""

    reason: PermissionReason
    """Of ``permissions``, else that of an unknown key; never ``exempt``. It is ``stale`` where the
    latest record cannot be read, or its reason is one of a later release."""
    opted_out: bool
    """Whether there is a decided opt-out that the ledger may not know yet, or an undecided one."""
    retailers: frozenset[int]
    """Who may use the consent that İYS holds; empty: none may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCounts:
    """How much is known."""

    keys: int
    undecided: int
    """Keys that undecided opt-outs close."""
    unreadable: int
    """Records that could not be read, since the start."""
    bytes: int
    """About what the keys take in memory."""


class _FactsOfKeys(NamedTuple):
    """What is said of keys of which the ledger says the same, without retailers."""

    plain: KeyFacts
    opted_out: KeyFacts
    hides_opt_out: bool
    """Whether the ledger's answer stands although there is an opt-out that it may not know."""


def _facts_of_keys(reason: PermissionReason) -> _FactsOfKeys:
    plain, opted_out = (
        KeyFacts(reason=reason, opted_out=one, retailers=frozenset()) for one in (False, True)
    )
    return _FactsOfKeys(plain, opted_out, reason in _CONSENTED)


_PERMITTED = _facts_of_keys(PermissionReason.REGISTERED)
_DENIED: Mapping[str, _FactsOfKeys] = {
    one.value: _facts_of_keys(one)
    for one in PermissionReason
    if one not in {PermissionReason.EXEMPT, PermissionReason.REGISTERED}
}
_NOT_SAID = _facts_of_keys(PermissionReason.STALE)
_UNKNOWN: Mapping[RecipientType, _FactsOfKeys] = {
    one: _facts_of_keys(unregistered(one)) for one in RecipientType
}


class GateState(GateSources):
    """What the gate knows. Read by any thread.

    ``stale_after`` is for how long a partition may not have been seen read to its end.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        codec: Codec,
        *,
        stale_after: timedelta,
        suppressions: SuppressionKeys = NO_SUPPRESSIONS,
    ) -> None:
        super().__init__(
            kafka,
            codec,
            KnownKeys(suppressions),
            stale_after=stale_after.total_seconds(),
            moved=self._wake,
        )
        self._marked = self._undecided.digests
        self._changed = Wakeup()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0
        """How many wait in that event loop."""

    def of_key(self, key: ConsentKey) -> KeyFacts:
        """Return what is known of ``key``, of this recipient type alone."""
        digest = digest_of(key.encode())
        # First: a key is released only after what follows from the decision is known.
        is_undecided = digest in self._marked
        known = self._known.find_digest(digest)
        if known is None:
            found = _UNKNOWN[key.recipient_type]
            is_undecided = is_undecided or self._known.merchants.covers(key)
            return found.opted_out if is_undecided else found.plain
        if known.may_send:
            found, is_opted_out = _PERMITTED, is_undecided
        else:
            found = _DENIED.get(known.reason, _NOT_SAID)
            is_opted_out = is_undecided or (known.at > 0 and not found.hides_opt_out)
        key_facts = found.opted_out if is_opted_out else found.plain
        retailers = self._known.retailers(digest)
        return replace(key_facts, retailers=retailers) if retailers else key_facts

    def partition_of(self, key: ConsentKey) -> int:
        """Return the partition that ``key`` belongs to."""
        return partition_of(key.encode(), self.partitions)

    def brand(self, brand_code: int) -> RegisteredBrand | None:
        """Return what is known of a brand; None where it is not registered."""
        return self._brands.directory.find(brand_code)

    def brands(self) -> Mapping[int, RegisteredBrand]:
        """Return what is known of each brand, by its code."""
        return {brand.brand_code: brand for brand in self._brands.directory}

    def iys_pulled_at(self, brand_code: int, channel: Channel) -> datetime | None:
        """Return when İYS's data were last pulled to their ends; None: never."""
        return self.freshness.pulled_at.get((brand_code, channel))

    async def reached(self, token: Sequence[LogPosition], within: float) -> bool:
        """Return whether the lanes were read as far as ``token`` says, after ``within`` seconds at
        most.

        Raises:
            ForeignTokenError: it cannot be of this installation.
        """
        if self.identities is None:
            return False
        check_token(token, self._kafka.topics, self.identities)
        self._loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            async with asyncio.timeout(within):
                while True:
                    changed = self._changed.next
                    if self.has_read(token):
                        return True
                    await changed.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1

    def counts(self) -> StateCounts:
        """Return how much is known."""
        undecided = len(self._undecided)
        return StateCounts(
            keys=len(self._known),
            undecided=undecided,
            unreadable=self._known.unreadable,
            bytes=self._known.size + undecided * _MARK_BYTES,
        )

    def _wake(self) -> None:
        """Wake who waits for a token, from a thread that reads."""
        loop = self._loop
        if self._waiting and loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._changed.notify)
