"""No permission after an opt-out that is newer than its consent.

The two topics have no order between them, and the ledger may have published a permission before it
knew of the opt-out. The consumer groups do not help: another instance may have the opt-outs of the
key, and what was confirmed is not read again after a restart. So the topic of opt-outs is followed
a second time, without a group, and each permission is compared with it when it is delivered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from izin.consent.may_send import PermissionReason
from izin.kafka.follower import TopicFollower
from izin.projections.packed_permissions import PackedPermissions, whole_seconds
from izin.projections.permission_reader import consent_second
from izin.runtime.kafka_environment import KafkaAccess
from izin.schemas.codec import Codec
from izin.subscribers.changes import (
    Change,
    ChangeKind,
    OptedOut,
    PermissionChanged,
    UnreadableRecord,
)
from izin.subscribers.reading import KeyFilter
from izin.subscribers.tables import OptOutTable, Reporter

_FRESH = 5.0
"""Seconds for which the opt-outs may not have been seen complete where a permission is let out."""


class OptOutGuard:
    """The opt-outs that the topic holds, of the keys that are wanted, in about 30 bytes each."""

    def __init__(self, access: KafkaAccess, codec: Codec, wanted: KeyFilter) -> None:
        self._known = PackedPermissions()
        self._table = OptOutTable(Reporter(self._known, None, wanted))
        self._follower = TopicFollower(access, codec, access.topics.opt_outs, self._table)
        self._running = ExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opt-outs")

    async def open(self) -> None:
        """Begin to read the opt-outs.

        Raises:
            BrokerError: Kafka cannot be reached, or the topic does not exist.
        """
        following = self._follower.follow(complete=False)
        await self._in_thread(partial(self._running.enter_context, following))

    async def close(self) -> None:
        """End reading."""
        try:
            await self._in_thread(self._running.close)
        finally:
            self._thread.shutdown(wait=False)

    def review(self, change: Change) -> Change | None:
        """Return ``change`` as it is delivered; None: not before the opt-outs are known.

        A permission by a consent that is not newer than an opt-out of its key denies. Nothing but
        permissions that are to be compared waits.
        """
        match change:
            case OptedOut():
                self._table.close(change.key, whole_seconds(change.opted_out_at))
            case UnreadableRecord(kind=ChangeKind.OPT_OUTS, key=key) if key is not None:
                self._table.close(key, int(time.time()))
            case PermissionChanged(may_send=True):
                if not self._is_fresh():
                    return None
                given_at = consent_second(change.registered_at, change.consent_date)
                if self._known.is_closed(change.key.encode(), given_at):
                    return replace(change, may_send=False, reason=PermissionReason.OPTED_OUT)
            case _:
                pass
        return change

    def _in_thread(self, work: Callable[[], None]) -> Awaitable[None]:
        """Do one thing after the other: what is being opened is closed afterwards."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _is_fresh(self) -> bool:
        age = self._follower.age()
        return age is not None and age < _FRESH
