"""Read of a permission what a list of them keeps: the answer, its reason, since when, for whom.

A list of millions is read at each start, so the few fields are found in the bytes of the record by
walking over the others. That is done for the versions of the contract that are known here; whatever
is unusual is decoded, and the general path is :func:`facts_of`.
"""

from datetime import datetime
from typing import Final

from izin.kafka.tables.packed_permissions import PermissionFacts, whole_seconds
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.fast.cache import put
from izin.schemas.fast.reader import SHORT, long_of, long_text
from izin.schemas.records import AvroRecord

_RECORD: Final = "Permission"
_FIRST: Final[tuple[str, ...]] = (
    "customer_id",
    "brand_code",
    "type",
    "recipient_type",
    "recipient",
    "may_send",
    "reason",
    "desired",
    "registered",
    "registered_at",
    "consent_date",
    "since",
)
"""The fields of the first version, in the order in which they are walked over."""
_LATER: Final[tuple[str, ...]] = ("previous_may_send", "retailers")
"""What later versions have behind them."""
_GENERAL: Final = -1
"""Instead of how many of the later fields a version has: it is decoded."""
_SINGLE_SIZE: Final = 10
_CONFLUENT_SIZE: Final = 5
_NULL: Final = 0
_VALUE: Final = 2
"""How the branches of a union with null begin."""
_TRUE: Final = 1
_MILLISECONDS: Final = 1000


def facts_of(record: AvroRecord) -> PermissionFacts:
    """Return what is kept of the Avro Permission ``record``."""
    return PermissionFacts(
        record["may_send"],
        record["reason"],
        consent_second(record["registered_at"], record["consent_date"]),
        record["retailers"],
    )


def consent_second(registered_at: datetime | None, consent_date: datetime | None) -> int:
    """Return ``PermissionFacts.consent_at`` by the two instants of a permission."""
    instants = [one for one in (registered_at, consent_date) if one]
    return min(map(whole_seconds, instants), default=0)


class PermissionReader:
    """Reads permissions in any framing and version."""

    def __init__(self, codec: Codec) -> None:
        fields = contracts.current()[_RECORD].schema["fields"]
        if tuple(field["name"] for field in fields) != (*_FIRST, *_LATER):
            raise ValueError(f"the contract of {_RECORD} must have the fields {_FIRST + _LATER}")
        self._types = [(field["name"], field["type"]) for field in fields]
        self._codec = codec
        self._later: dict[bytes, int] = {}
        """By frame: how many of the later fields the version has."""

    def read(self, value: bytes) -> PermissionFacts:
        """Return what is kept of the framed Permission ``value``; raises as ``Codec.decode``."""
        size = _SINGLE_SIZE if value[:1] == b"\xc3" else _CONFLUENT_SIZE
        later = self._later.get(value[:size])
        if later is None:
            later = put(self._later, value[:size], self._later_fields(value))
        if later != _GENERAL:
            try:
                found = _walk(value, size, later)
            except (IndexError, ValueError):
                found = None
            if found is not None:
                return found
        return facts_of(self._codec.decode(_RECORD, value))

    def _later_fields(self, value: bytes) -> int:
        fields = self._codec.writer_of(value).schema["fields"]
        count = len(fields) - len(_FIRST)
        same = [(field["name"], field["type"]) for field in fields] == self._types[: len(fields)]
        return count if same and count >= 0 else _GENERAL


def _walk(data: bytes, at: int, later: int) -> PermissionFacts | None:
    """Return what is kept of the record whose body begins at ``at``; None: it must be decoded."""
    at = _text_end(data, at)
    at = long_of(data, at)[1]
    at = _text_end(data, _text_end(data, _text_end(data, at)))
    may_send, reason_at = data[at], at + 1
    at = _text_end(data, reason_at)
    reason = _text(data, reason_at, at)
    at = _text_end(data, at + 1) if data[at] == _VALUE else _null_end(data, at)
    at = _text_end(data, at)
    consent_at, is_stated = 0, False
    for _ in range(2):
        if data[at] == _VALUE:
            instant, at = long_of(data, at + 1)
            seconds = instant // _MILLISECONDS
            if not is_stated or seconds < consent_at:
                consent_at, is_stated = seconds, True
        else:
            at = _null_end(data, at)
    at = long_of(data, at)[1]
    retailers: str | None = None
    if later > 0:
        at = at + 2 if data[at] == _VALUE else _null_end(data, at)
    if later > 1:
        if data[at] == _VALUE:
            begin, at = at + 1, _text_end(data, at + 1)
            retailers = _text(data, begin, at)
        else:
            at = _null_end(data, at)
    if at != len(data) or may_send > _TRUE:
        return None
    return PermissionFacts(may_send == _TRUE, reason, consent_at, retailers)


def _null_end(data: bytes, at: int) -> int:
    if data[at] != _NULL:
        raise ValueError("no such branch")
    return at + 1


def _text_end(data: bytes, at: int) -> int:
    size = SHORT[data[at]]
    return at + size if size else long_text(data, at)[1]


def _text(data: bytes, at: int, end: int) -> str:
    size = SHORT[data[at]]
    return data[at + 1 if size else long_text(data, at)[0] : end].decode()
