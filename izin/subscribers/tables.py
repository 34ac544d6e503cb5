"""What is known of each key, as the topics of opt-outs and of permissions fill it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from izin.consent.errors import SourceError
from izin.consent.may_send import PermissionReason
from izin.consent.model import ConsentKey, Status
from izin.projections.packed_permissions import Known, PackedPermissions, whole_seconds
from izin.projections.permission_reader import facts_of
from izin.runtime.plain_log import PlainLogger
from izin.schemas.codec import UndecodableError
from izin.schemas.records import UNREADABLE, AvroRecord, consent_from_avro, key_from_avro
from izin.subscribers.reading import KeyFilter, known_or_text

_log = PlainLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether a commercial message may be sent, and why."""

    may_send: bool
    reason: PermissionReason | str
    """A text only where a later release has a new reason."""


UNKNOWN = Answer(may_send=False, reason=PermissionReason.NOT_REGISTERED)

OnChange = Callable[[ConsentKey, Answer], None]
"""Called with a key and its new answer."""


def answer_of(known: Known | None) -> Answer:
    """Return the answer for a key of which so much is ``known``; None: nothing."""
    if known is None:
        return UNKNOWN
    return Answer(may_send=known.may_send, reason=known_or_text(PermissionReason, known.reason))


class Reporter:
    """Calls ``on_change`` once the list is complete, and counts what could not be read."""

    def __init__(
        self, known: PackedPermissions, on_change: OnChange | None, wanted: KeyFilter
    ) -> None:
        self.known = known
        self.wanted = wanted
        self.unreadable = 0
        self._on_change = on_change
        self._has_begun = threading.Event()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Report changes from now on."""
        self._has_begun.set()

    def changed(self, key: ConsentKey) -> None:
        """Report that the answer for ``key`` changed."""
        if self._on_change is None or not self._has_begun.is_set():
            return
        try:
            self._on_change(key, answer_of(self.known.find(key.encode())))
        except Exception as error:  # noqa: BLE001  # the caller's code must not end the list
            _log.error("on_change failed", error=type(error).__name__)

    def unreadable_key(self, data: bytes) -> ConsentKey | None:
        """Count a record that cannot be read; return its key if that can be, and is wanted."""
        with self._lock:
            self.unreadable += 1
        try:
            key = ConsentKey.parse(data.decode())
        except (SourceError, ValueError):
            return None
        return key if self.wanted.has(key) else None


class PermissionTable:
    """What is known, as the topic of permissions fills it."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._known = reporter.known

    def put(self, record: AvroRecord) -> None:
        """Take the ledger's answer."""
        key = key_from_avro(record)
        if not self._reporter.wanted.has(key):
            return
        if self._known.put(key.encode(), facts_of(record)):
            self._reporter.changed(key)

    def remove(self, key: bytes) -> None:
        """Forget a key that was erased."""
        if self._known.remove(key):
            self._reporter.changed(ConsentKey.parse(key.decode()))

    def unreadable(self, key: bytes) -> None:
        """Close the key, for its latest answer may be a no."""
        found = self._reporter.unreadable_key(key)
        if found is not None and self._known.deny(key, UNREADABLE):
            self._reporter.changed(found)


class OptOutTable:
    """What is known, as the topic of opt-outs closes it."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._known = reporter.known

    def put(self, record: AvroRecord) -> None:
        """Close a key."""
        consent = consent_from_avro(record)
        if consent.status is not Status.RET:
            raise UndecodableError(f"not an opt-out: its status is {consent.status}")
        if self._reporter.wanted.has(consent.key):
            self.close(consent.key, whole_seconds(consent.effective_at))

    def remove(self, key: bytes) -> None:
        """Close the key: a record of this topic has a value, whatever was meant."""
        self.unreadable(key)

    def unreadable(self, key: bytes) -> None:
        """Close the key until a consent that is given after now: the opt-out's instant is lost."""
        found = self._reporter.unreadable_key(key)
        if found is not None:
            self.close(found, int(time.time()))

    def close(self, key: ConsentKey, opted_out_at: int) -> None:
        """Close a key by an opt-out at ``opted_out_at``, in whole seconds."""
        if self._known.opt_out(key.encode(), opted_out_at):
            self._reporter.changed(key)
