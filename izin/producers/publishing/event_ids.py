"""Deterministic event ids: the same event has the same id, however often it is sent.

A file or a webhook may repeat itself, so its ids are UUIDv5 over what stays the same: (digest, row)
of a file, (origin, reference, version) of a message. Only an event that nothing identifies gets a
UUIDv7. Time and randomness are arguments.
"""

import hashlib
from uuid import UUID

from izin.schemas.uuids import uuid5_of

_FILES = UUID("5f6f7b0e-6f4a-5d0c-9a53-6b8f6f0d1c01")
_MESSAGES = UUID("5f6f7b0e-6f4a-5d0c-9a53-6b8f6f0d1c02").bytes
_SEPARATOR = "\x1f"


class FileIds:
    """The ids of the events in one file: UUIDv5 over its SHA-256, the line, and the part of it."""

    __slots__ = ("_start",)

    def __init__(self, digest: str) -> None:
        # As uuid5 does, but the common prefix is hashed once.
        name = f"{digest}{_SEPARATOR}".encode()
        self._start = hashlib.sha1(_FILES.bytes + name, usedforsecurity=False)

    def of(self, row: int, part: str = "") -> str:
        """Return the id of the event in line ``row``, or of that in one ``part`` of it."""
        digest = self._start.copy()
        digest.update((f"{row}{_SEPARATOR}{part}" if part else str(row)).encode())
        return uuid5_of(digest.hexdigest())


def message_event_id(origin: str, reference: str, version: str) -> str:
    """Return the id of the event that ``origin`` calls ``reference``.

    ``version`` distinguishes two events of one reference: a number, or key, status and date.
    """
    name = _SEPARATOR.join((origin, reference, version)).encode("utf-8", "replace")
    return uuid5_of(hashlib.sha1(_MESSAGES + name, usedforsecurity=False).hexdigest())
