"""Decisions as the topic brings them: read by the places of their fields where they are plain, else
as values.

A decision is *plain* where its event is one of our systems', has been decided to stand, and says
nothing that needs judging (no violation, no retailer, nothing told by İYS). Of it only the fields
that differ from record to record are cut out; what many share, its *voice*, is known by its bytes.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from izin.consent.attestation import ATTESTED_WITHIN
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.fast.cache import put
from izin.schemas.fast.decision_writer import FIELDS
from izin.schemas.fast.reader import long_of
from izin.schemas.generated.consent_event_offsets import event_offsets
from izin.schemas.generated.decision_offsets import consent_offsets, head_offsets
from izin.schemas.records import key_from_avro
from izin.sinks.ledger.db.copy_format import microseconds
from izin.sinks.ledger.history.formats import history_codec

_ADDRESS: Final[tuple[str, ...]] = (
    "customer_id",
    "brand_code",
    "type",
    "recipient_type",
    "recipient",
)
_OURS: Final = b"\0"
_NULL: Final = b"\0"
_NO_RETAILER: Final = b"\0\0"
_A_BYTE: Final = 128
_MILLISECOND: Final = 1000
_ATTESTED_WITHIN: Final[int] = ATTESTED_WITHIN // timedelta(milliseconds=1)

TemplateKey = tuple[bytes, ...]
"""The bytes of what many decisions share; equal voices differ only in what is cut out."""


class Cut(NamedTuple):
    """What differs between plain decisions. Instants are in milliseconds since 1970."""

    template_key: TemplateKey
    address: bytes
    """Customer and key, as the Avro rows of consents and permissions begin."""
    recipient: bytes
    event_id: bytes
    origin_ref: bytes | None
    effective: int
    consent_date: int | None
    received: int
    said: int | None
    """The consent date of the event itself."""
    latest_onay: int | None
    latest_ret: int | None


def is_prompt(cut: Cut) -> bool:
    """Whether it was told soon after it was said: with its voice, whether it is attested."""
    return cut.said is not None and cut.received - cut.said <= _ATTESTED_WITHIN


class Read(NamedTuple):
    """A decision with what it concerns and where its event came from."""

    key: str
    customer_id: str
    brand_code: int
    topic: str
    partition: int
    offset: int
    """Of the event, in its topic and partition."""
    occurred: int
    """From when the event counts; microseconds since 1970."""
    value: bytes
    cut: Cut | None
    """None: it is not plain."""


class _Beginning(NamedTuple):
    """How the keys of a customer's brand, channel and recipient type begin."""

    customer_id: str
    brand_code: int
    key: str


class DecisionReader:
    """Reads records of decisions framed as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        schemas = {name: one.schema for name, one in contracts.current().items()}
        _check(schemas)
        self._codec = codec
        self._framed = codec.header("Decision")
        self._kept = history_codec().header("Decision")
        self._beginnings: dict[bytes, _Beginning] = {}
        self._places: dict[bytes, tuple[str, int]] = {}

    def read(self, value: bytes) -> Read:
        """Return the decision that ``value`` frames; raises UndecodableError."""
        if value.startswith(self._framed):
            try:
                found = self._cut(value, len(self._framed))
            except Exception:  # noqa: BLE001  # wrong or unusual: the codec judges it
                found = None
            if found is not None:
                return found
        return self._read(value)

    def decode(self, value: bytes) -> dict[str, Any]:
        """Return the Decision that ``value`` frames; raises UndecodableError."""
        return self._codec.decode("Decision", value)

    def kept(self, value: bytes) -> bytes:
        """Return the bytes in which the history keeps the decision."""
        if value.startswith(self._framed):
            return self._kept + value[len(self._framed) :]
        return history_codec().encode("Decision", self.decode(value))

    def _read(self, value: bytes) -> Read:
        decision = self.decode(value)
        consent = decision["consent"]
        return Read(
            str(key_from_avro(consent)),
            decision["event"]["customer_id"],
            consent["brand_code"],
            decision["topic"],
            decision["partition"],
            decision["offset"],
            microseconds(decision["effective_at"]),
            value,
            None,
        )

    def _cut(self, data: bytes, start: int) -> Read | None:
        opted_out, at, violations, placed, effective, consent = head_offsets(data, start)
        offset, _ = long_of(data, placed)
        # fmt: off
        (recipient_type, recipient, previous, effective_end, rank, event_id, source, date_end,
         registrable, latest_end, counts, date, latest_onay, latest_ret, event,
         ) = consent_offsets(data, consent)
        (e_event_id, _, e_recipient, e_raw, e_source, _, e_origin, origin_ref, cause, import_id,
         row, access, notice, evidence, said, received, end) = event_offsets(data, event)
        # fmt: on
        address = data[consent:recipient]
        identity = data[rank:event_id]
        if (
            end != len(data)
            or data[at:violations] != _NULL
            or data[effective_end:rank] != _OURS
            or data[event:e_event_id] != identity
            or data[e_event_id:e_recipient] != address
            or data[row:access] != _NO_RETAILER
            or end - evidence != 1
            or received is None
            or identity[0] >= _A_BYTE
            or data[recipient_type] >= _A_BYTE
        ):
            return None
        reference: bytes | None = data[e_origin:origin_ref]
        if reference == _NULL:
            reference = None
        elif data[e_origin + 1] < _A_BYTE:
            reference = data[e_origin + 2 : origin_ref]
        else:
            return None
        shared = data[consent:recipient_type]
        beginning = self._beginnings.get(shared)
        place = self._places.get(data[violations:placed])
        if beginning is None or place is None:
            return self._noted(data, shared, data[violations:placed])
        name = data[recipient_type + 1 : recipient]
        cut = Cut(
            (
                data[start:opted_out],
                shared,
                data[recipient:previous],
                data[event_id:source],
                data[date_end:registrable],
                data[latest_end:event],
                data[e_raw:e_source],
                data[cause:import_id],
                data[access:notice],
            ),
            address,
            name,
            identity[1:],
            reference,
            counts,
            date,
            received,
            said,
            latest_onay,
            latest_ret,
        )
        return Read(
            beginning.key + name.decode(),
            beginning.customer_id,
            beginning.brand_code,
            place[0],
            place[1],
            offset,
            effective * _MILLISECOND,
            data,
            cut,
        )

    def _noted(self, data: bytes, shared: bytes, place: bytes) -> Read | None:
        """Note the words of a decision whose beginning or place is new, and read it again."""
        decision = self.decode(data)
        consent = decision["consent"]
        key = str(key_from_avro(consent))
        beginning = _Beginning(
            consent["customer_id"],
            consent["brand_code"],
            key.removesuffix(consent["recipient"]),
        )
        put(self._beginnings, shared, beginning)
        put(self._places, place, (decision["topic"], decision["partition"]))
        return self._cut(data, len(self._framed))


def _check(schemas: Mapping[str, Any]) -> None:
    """Raise ValueError where a contract no longer has the fields that are cut here, in order."""
    names = {name: [field["name"] for field in schemas[name]["fields"]] for name in schemas}
    if tuple(names["Decision"]) != FIELDS:
        raise ValueError(f"the contract of Decision must have the fields {FIELDS}")
    for record in ("Consent", "Permission"):
        if tuple(names[record][: len(_ADDRESS)]) != _ADDRESS:
            raise ValueError(f"the contract of {record} must begin with {_ADDRESS}")
    if tuple(names["ConsentEvent"][1 : 1 + len(_ADDRESS)]) != _ADDRESS:
        raise ValueError(f"the contract of ConsentEvent must have {_ADDRESS} behind its id")
