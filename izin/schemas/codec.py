"""Bytes to records and back, in two standard framings that their first byte distinguishes.

``0x00`` + four-byte schema id
    Confluent framing; written when a schema registry is configured.
``0xC3 0x01`` + eight-byte fingerprint
    Avro single-object encoding; written when none is, and always readable.

Readers resolve the writer's schema (by id from the registry, by fingerprint from the known
versions) into the current one, so old producers work with new workers and the other way round.

Records of the current schema take the fast path (``fast.writer``, ``fast.reader``). Whatever fails
there goes to fastavro, which either succeeds or names what is wrong.

An instant of an event that is none (microseconds for milliseconds, the year 0) is read as missing:
whoever wrote it said something of a consent all the same. One that no event lacks is read as 1970,
which the law takes for missing.
"""

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, cast

from fastavro import schemaless_reader, schemaless_writer
from fastavro.read import LOGICAL_READERS

from izin.consent import Consent, ConsentEvent, IysOrigin, SourceError, maker
from izin.schemas import contracts
from izin.schemas.fast.reader import EARLIEST, LATEST, Constructor, Read, reader_of
from izin.schemas.fast.writer import EPOCH, Write, writer_of
from izin.schemas.records import AvroRecord, consent_from_avro, consent_of, event_from_avro

T = TypeVar("T")

_CONSTRUCTORS: Mapping[str, Constructor] = {
    "ConsentEvent": maker(ConsentEvent),
    "IysStatement": IysOrigin,
    "Consent": consent_of,
}
"""By record: the value of the law that is read without a dict in between."""

_SINGLE = b"\xc3\x01"
_SINGLE_SIZE = 10
_CONFLUENT_SIZE = 5


@cache
def _write_of(contract: contracts.Contract) -> Write:
    """Return what writes records of ``contract``, made once a process: its source is compiled."""
    return writer_of(contract.schema)


@cache
def _read_of(contract: contracts.Contract) -> Read:
    """Return what reads records of ``contract`` into dicts."""
    return reader_of(contract.schema, {})


@cache
def _read_value_of(contract: contracts.Contract) -> Read:
    """Return what reads records of ``contract`` into values of the law."""
    return reader_of(contract.schema, _CONSTRUCTORS, sequence=tuple)


_UNITS = [
    logical_reader.removeprefix("long-")
    for logical_reader in LOGICAL_READERS
    if "timestamp" in logical_reader
]
"""The types of instants."""
_OPTIONAL, _REQUIRED = "izin-optional-", "izin-required-"


def _lenient(unit: str, missing: datetime | None) -> Callable[..., datetime | None]:
    """Return what reads instants of ``unit``, and ``missing`` where they are none."""
    read = LOGICAL_READERS[f"long-{unit}"]

    def instant(*read_from: Any) -> datetime | None:  # noqa: ANN401  # as fastavro calls it
        try:
            found: datetime = read(*read_from)
            is_one = EARLIEST <= found <= LATEST
        except (OverflowError, ValueError, TypeError):  # the last: it has no time zone
            is_one = False
        return found if is_one else missing

    return instant


for _unit in _UNITS:
    LOGICAL_READERS[f"long-{_OPTIONAL}{_unit}"] = _lenient(_unit, None)
    LOGICAL_READERS[f"long-{_REQUIRED}{_unit}"] = _lenient(_unit, EPOCH)


@cache
def _parsed(contract: contracts.Contract) -> contracts.Schema:
    """Return the schema of ``contract`` as fastavro reads it, lenient about instants of events."""
    lenient = _with_lenient_instants(contract.schema)
    return contracts.contract(contract.record, lenient).parsed


def _with_lenient_instants(schema: Any, of_event: bool = False, mark: str = _REQUIRED) -> Any:  # noqa: ANN401  # any JSON
    match schema:
        case {"type": "record", "name": name, "fields": fields}:
            inside = of_event or name.rpartition(".")[2] == "ConsentEvent"
            types = [_with_lenient_instants(field["type"], inside) for field in fields]
            pairs = zip(fields, types, strict=True)
            return {**schema, "fields": [{**field, "type": kind} for field, kind in pairs]}
        case {"type": "long", "logicalType": unit} if of_event and unit in _UNITS:
            return {**schema, "logicalType": mark + unit}
        case list():
            return [_with_lenient_instants(one, of_event, _OPTIONAL) for one in schema]
    return schema


class UndecodableError(SourceError):
    """Bytes that are not a record of the contract."""


class UnknownSchemaError(UndecodableError):
    """A schema id or fingerprint that is known neither to the registry nor to this release."""


class SchemaIds(Protocol):
    """The schema registry, as the codec uses it; raises an OurError where it is out of reach."""

    def id_of(self, contract: contracts.Contract) -> int:
        """Return the id under which the registry holds ``contract``."""

    def schema_of(self, schema_id: int) -> contracts.Schema | None:
        """Return the schema that ``schema_id`` names, or None where the registry has none."""

    def close(self) -> None:
        """Disconnect from the registry."""


class Codec:
    """Encodes and decodes the records of ``schemas/avro``; with ``ids``, in Confluent framing.

    Reads ``others`` too: versions, by fingerprint, that are not in this release. With ``ids`` it
    encodes those that it ``writes`` alone, and asks for their ids when it is made.
    """

    def __init__(
        self,
        ids: SchemaIds | None = None,
        *,
        others: Mapping[bytes, contracts.Contract] = MappingProxyType({}),
        writes: Collection[str] = contracts.RECORDS,
    ) -> None:
        self._ids = ids
        self._current = contracts.current()
        self._known = {**others, **contracts.known()}
        self._writers: dict[bytes, contracts.Contract] = {}
        self._write = {name: _write_of(one) for name, one in self._current.items()}
        self._read = {name: _read_of(one) for name, one in self._current.items()}
        self._read_value = {
            name: _read_value_of(one)
            for name, one in self._current.items()
            if name in _CONSTRUCTORS
        }
        self._headers = {
            name: _SINGLE + one.fingerprint
            if ids is None
            else b"\x00" + struct.pack(">I", ids.id_of(one))
            for name, one in self._current.items()
            if ids is None or name in writes
        }

    def close(self) -> None:
        """Disconnect from the schema registry, if there is one."""
        if self._ids is not None:
            self._ids.close()

    def encode(self, record: str, value: Mapping[str, Any]) -> bytes:
        """Return ``value`` as a framed ``record``.

        Raises ValueError or TypeError if it does not fit the contract.
        """
        try:
            return self._headers[record] + self._write[record](value)
        except Exception:  # noqa: BLE001  # fastavro names what is wrong
            out = BytesIO()
            out.write(self._headers[record])
            schemaless_writer(out, self._current[record].parsed, value)
            return out.getvalue()

    def shared_runs(
        self, record: str, shared: Mapping[str, Any], own: Collection[str]
    ) -> list[bytes]:
        """Return what records that differ from ``shared`` only in the fields ``own`` have before,
        between and behind these, the framing included.
        """
        runs = [self._headers[record]]
        for field in self._current[record].schema["fields"]:
            if field["name"] in own:
                runs.append(b"")
            else:
                runs[-1] += writer_of(field["type"])(shared[field["name"]])
        return runs

    def template_encoder(
        self, record: str, shared: Mapping[str, Any], own: Collection[str]
    ) -> Callable[[Mapping[str, Any]], bytes]:
        """Return a function that encodes as ``encode`` does, for records that differ from
        ``shared`` only in the fields ``own``, which it is given; the others are encoded once.
        """
        start, *runs = self.shared_runs(record, shared, own)
        fields = [one for one in self._current[record].schema["fields"] if one["name"] in own]
        writers = [
            (field["name"], writer_of(field["type"]), run)
            for field, run in zip(fields, runs, strict=True)
        ]

        def encode(value: Mapping[str, Any]) -> bytes:
            return start + b"".join([write(value[name]) + run for name, write, run in writers])

        return encode

    def decode(self, record: str, data: bytes) -> AvroRecord:
        """Return the ``record`` that ``data`` frames, resolved to the current contract.

        Raises UndecodableError, and UnknownSchemaError where the writer's schema cannot be found.
        """
        found = self._read_fast(record, self._read, data)
        if found is not None:
            return cast("AvroRecord", found)
        return self._decode_general(record, data, "strict")

    def _decode_general(self, record: str, data: bytes, unicode_errors: str) -> AvroRecord:
        writer, body = self._writer(data)
        reader = self._current[record]
        same = writer.fingerprint == reader.fingerprint
        try:
            value = schemaless_reader(
                body,
                _parsed(writer),
                None if same else _parsed(reader),
                handle_unicode_errors=unicode_errors,
            )
        except Exception as error:  # fastavro raises whatever the bytes run it into
            raise UndecodableError(f"not a {record}: {type(error).__name__}") from error
        if body.read(1):
            raise UndecodableError(f"bytes are left over after the {record}")
        if not isinstance(value, dict):
            raise UndecodableError(f"not a {record}: {type(value).__name__}")
        return value

    def decode_event(self, data: bytes) -> ConsentEvent:
        """Return the ConsentEvent that ``data`` frames; raises as ``decode`` does."""
        return self._read_as("ConsentEvent", data, event_from_avro)[0]

    def read_event(self, data: bytes) -> tuple[ConsentEvent, bool]:
        """Return the same, and whether ``data`` is as it would be written here: else it may have
        had instants that are none. Raises as ``decode`` does.
        """
        return self._read_as("ConsentEvent", data, event_from_avro)

    def decode_damaged_event(self, data: bytes) -> tuple[ConsentEvent, Sequence[str]]:
        """Return the ConsentEvent that ``data`` frames, without the bytes that are no UTF-8, and
        the names of the fields that had such; raises as ``decode`` does.
        """
        found, marked = (
            self._decode_general("ConsentEvent", data, unicode_errors)
            for unicode_errors in ("ignore", "replace")
        )
        damaged = [name for name, value in found.items() if marked[name] != value]
        return _made(event_from_avro, "ConsentEvent", found), damaged

    def decode_consent(self, data: bytes) -> Consent:
        """Return the Consent that ``data`` frames.

        Raises as ``decode`` does, and UndecodableError for words that the law does not know.
        """
        return self._read_as("Consent", data, consent_from_avro)[0]

    def _read_as(self, record: str, data: bytes, make: Callable[[AvroRecord], T]) -> tuple[T, bool]:
        """Return the value of the law that ``data`` frames, and whether it was read at once."""
        found = self._read_fast(record, self._read_value, data)
        if found is not None:
            return cast("T", found), True
        return _made(make, record, self._decode_general(record, data, "strict")), False

    def header(self, record: str) -> bytes:
        """Return the frame that precedes the body of a ``record`` written here."""
        return self._headers[record]

    def writer_of(self, data: bytes) -> contracts.Contract:
        """Return the version of the contract that the frame of ``data`` names.

        Raises UndecodableError, and UnknownSchemaError where it cannot be found.
        """
        return self._writer(data)[0]

    def _read_fast(self, record: str, readers: Mapping[str, Read], data: bytes) -> object:
        """Return what the reader of ``record`` reads of ``data``, or None where fastavro must."""
        header = self._headers.get(record)
        if header is None or not data.startswith(header):
            return None
        try:
            found, end = readers[record](data, len(header))
        except Exception:  # noqa: BLE001  # wrong or unusual: fastavro decides
            return None
        return found if end == len(data) else None

    def _writer(self, data: bytes) -> tuple[contracts.Contract, BytesIO]:
        body = BytesIO(data)
        if data[:2] == _SINGLE and len(data) >= _SINGLE_SIZE:
            header = body.read(_SINGLE_SIZE)
            writer = self._known.get(header[2:])
            if writer is None:
                raise UnknownSchemaError(f"unknown schema fingerprint {header[2:].hex()}")
            return writer, body
        if data[:1] == b"\x00" and len(data) >= _CONFLUENT_SIZE:
            header = body.read(_CONFLUENT_SIZE)
            return self._registered(header), body
        raise UndecodableError("neither Confluent framing nor Avro single-object encoding")

    def _registered(self, header: bytes) -> contracts.Contract:
        found = self._writers.get(header)
        if found is None:
            schema_id = struct.unpack(">I", header[1:])[0]
            schema = None if self._ids is None else self._ids.schema_of(schema_id)
            if schema is None:
                raise UnknownSchemaError(
                    f"unknown schema id {schema_id}; is SCHEMA_REGISTRY_URL set?"
                )
            found = self._writers[header] = _usable(schema_id, schema)
        return found


def _made(make: Callable[[AvroRecord], T], record: str, content: AvroRecord) -> T:
    try:
        return make(content)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise UndecodableError(f"not a {record}: {type(error).__name__}") from error


def _usable(schema_id: int, schema: Any) -> contracts.Contract:  # noqa: ANN401  # any JSON
    try:
        return contracts.contract(str(schema.get("name")), schema)
    except Exception as error:  # fastavro raises whatever the schema runs it into
        raise UnknownSchemaError(f"schema id {schema_id} names no record we can read") from error
