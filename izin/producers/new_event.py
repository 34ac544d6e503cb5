"""An event as a program hands it over, before anything is known of it but its types.

Whether it is published is for :mod:`izin.producers.acceptance`.

Web servers (gunicorn) and task queues (Celery) fork after the application was loaded. What a fork
leaves behind in the child are clients of Kafka whose threads stayed in the parent: such a client
can be neither used nor destroyed there, for destroying it waits for its threads. So the child
forgets it without freeing it, and makes clients of its own.
"""

import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Protocol
from weakref import WeakSet

from izin.consent.enums import RecipientType
from izin.schemas.uuids import CHANCE_BYTES


class ForkObserver(Protocol):
    """What must begin anew in the child of a fork."""

    def forked(self) -> None:
        """Forget, in the child, what belongs to the parent."""


_OBSERVERS: WeakSet[ForkObserver] = WeakSet()


def observe_forks(observer: ForkObserver) -> None:
    """Call ``observer.forked`` in each child that this process forks, while it exists."""
    _OBSERVERS.add(observer)


def never_free(value: object) -> None:
    """Keep ``value`` and what it refers to until the process ends, at the end of Python too."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _in_child() -> None:
    for one in list(_OBSERVERS):
        one.forked()


os.register_at_fork(after_in_child=_in_child)


def utc_now() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)


class _Chance:
    """Random bytes for ids, of a generator that the system seeds: asking it for each takes longer
    than all else. The child of a fork has a seed of its own.
    """

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311  # ids are no secrets
        observe_forks(self)

    def forked(self) -> None:
        """Draw other bytes than the parent."""
        self._random.seed()

    def __call__(self) -> bytes:
        return self._random.randbytes(CHANCE_BYTES)


_chance = _Chance()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """A consent (ONAY) or an opt-out (RET) to publish.

    ``brand_code``, ``type``, ``recipient`` and ``status`` make the key and the status; an ONAY
    needs ``source`` and ``consent_date`` too. Make one value for one act, and publish the same one
    again where a publication failed: it is the same event.
    """

    brand_code: int
    """The brand at İYS."""
    type: str
    """ARAMA (calls), MESAJ (text messages) or EPOSTA (e-mail)."""
    recipient: str
    """A phone number in any usual notation, or an e-mail address. Personal data."""
    status: str
    """ONAY (opt-in) or RET (opt-out)."""
    source: str | None = None
    """İYS's source, such as HS_WEB."""
    consent_date: datetime | None = None
    """When the recipient acted, aware. Without it an opt-out counts from ``received_at``."""
    recipient_type: str = RecipientType.BIREYSEL
    """BIREYSEL (consumer) or TACIR (merchant)."""
    origin_ref: str | None = None
    """Your own reference, such as a customer number. With a ``consent_date`` or a ``version`` it
    identifies the event: whoever publishes the same again changes nothing."""
    version: int | str | None = None
    """Tells events of one reference apart: a row's version, or a number of the message."""
    sequence: int | None = None
    """A running number of your system; gaps are detected."""
    actor: str | None = None
    """Who did it in your system."""
    correlation_id: str | None = None
    """Binds the events of one act."""
    retailer_code: int | None = None
    retailer_access: Sequence[int] | None = None
    notice_version: str | None = None
    """Which consent text the recipient saw."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Proof of the act: address, user agent, record number. Personal data."""
    evidence_hash: str | None = None
    """SHA-256 of evidence stored elsewhere."""
    received_at: datetime = field(default_factory=utc_now)
    """When your system received it, aware: when the value was made."""
    chance: bytes = field(default_factory=_chance, repr=False)
    """Ten random bytes, made with the value: the event's id where no reference identifies it."""
