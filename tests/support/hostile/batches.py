"""Batches that Kafka stores and that a client may fail to unpack, written to a real broker.

Clients make valid batches only, so these are made by hand and sent in a Produce request of our own
(:class:`RawProducer`). A broker looks at the checksum, at the header, and at each record as Java
unpacks it: what Java leaves unread (a second frame, a tail, the checksum of a content) it stores.

::

    with RawProducer(settings) as raw:
        offset = raw.produce(topic, 0, HOSTILE["lz4 content checksum"]([(key, value)]))

Of the names of ``HOSTILE``, ``READABLE`` are those that a broker stores and Java's client reads,
``UNREADABLE`` those that a broker stores and nobody can read as they are; it refuses the others.
``batch_of`` makes a valid batch, also one that is huge once it is unpacked.
"""

import gzip
import socket
import struct
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType

import cramjam
import lz4.frame
from aiokafka import codec as client_codec
from aiokafka.record.util import calc_crc32c
from confluent_kafka import KafkaError, KafkaException

from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.fast.record_format import NO_HEADERS, BatchBuilder
from izin.schemas.fast.writer import long_bytes

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
"""The numbers of the codecs."""
_HEADER = struct.Struct(">qiibI")
_BODY = struct.Struct(">hiqqqhii")
_WITHIN = 20.0

KeyValue = tuple[bytes | None, bytes | None]
MakeBatch = Callable[[Sequence[KeyValue]], bytes]
"""Makes a batch of records, as a Produce request has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBatch:
    """A batch, each part of which may lie."""

    payload: bytes
    """The records as the batch has them, compressed or not."""
    count: int
    codec: int = NONE
    last_delta: int | None = None
    """None: as ``count`` says."""
    timestamp: int | None = None
    """Milliseconds since 1970; None: now."""

    def encoded(self) -> bytes:
        """Return it with a header and a checksum that is right."""
        last = self.count - 1 if self.last_delta is None else self.last_delta
        at = int(time.time() * 1000) if self.timestamp is None else self.timestamp
        body = _BODY.pack(self.codec, last, at, at, -1, -1, -1, self.count) + self.payload
        return _HEADER.pack(0, len(body) + 9, -1, 2, calc_crc32c(body)) + body


def plain_records(records: Sequence[KeyValue]) -> bytes:
    """Return ``records`` as a batch has them, not compressed."""
    builder = BatchBuilder("", 0)
    for key, value in records:
        builder.add(key, value, NO_HEADERS)
    return builder.payload()


def compressed(codec: int, payload: bytes) -> bytes:
    """Return ``payload`` as a well-behaved client compresses it."""
    match codec:
        case 1:
            return gzip.compress(payload)
        case 2:
            return client_codec.snappy_encode(payload)
        case 3:
            return lz4.frame.compress(payload, block_linked=False, store_size=False)
        case 4:
            return bytes(cramjam.zstd.compress(payload))
        case _:
            return payload


def batch_of(records: Sequence[KeyValue], codec: int = NONE) -> bytes:
    """Return a valid batch of ``records``."""
    payload = compressed(codec, plain_records(records))
    return RawBatch(payload=payload, count=len(records), codec=codec).encoded()


def _batch(codec: int, spoil: Callable[[bytes], bytes]) -> MakeBatch:
    """Return a maker of batches whose compressed records ``spoil`` changes."""

    def make(records: Sequence[KeyValue]) -> bytes:
        payload = spoil(compressed(codec, plain_records(records)))
        return RawBatch(payload=payload, count=len(records), codec=codec).encoded()

    return make


def _plain(codec: int, spoil: Callable[[bytes], bytes], **lies: int) -> MakeBatch:
    """Return a maker of batches whose records ``spoil`` changes before they are compressed;
    ``lies`` are added to fields of the header.
    """

    def make(records: Sequence[KeyValue]) -> bytes:
        payload, count = compressed(codec, spoil(plain_records(records))), len(records)
        made = RawBatch(payload=payload, count=count, codec=codec, last_delta=count - 1)
        return replace(
            made, **{name: getattr(made, name) + lie for name, lie in lies.items()}
        ).encoded()

    return make


def _records(codec: int, record: Callable[[int, KeyValue], bytes]) -> MakeBatch:
    """Return a maker of batches each of whose records is what ``record`` makes of it."""

    def make(records: Sequence[KeyValue]) -> bytes:
        payload = b"".join(record(number, one) for number, one in enumerate(records))
        count = len(records)
        return RawBatch(payload=compressed(codec, payload), count=count, codec=codec).encoded()

    return make


def _record(  # noqa: PLR0917  # the fields of a record that may lie
    number: int,
    record: KeyValue,
    delta: int = 0,
    size: int = 0,
    key_size: int = 0,
    headers: bytes = NO_HEADERS,
) -> bytes:
    """Return a record whose offset, size and size of its key are off by so much."""
    key, value = record
    body = b"\0\0" + long_bytes(number + delta)
    body += long_bytes(len(key or b"") + key_size) + (key or b"")
    body += long_bytes(len(value or b"")) + (value or b"") + headers
    return long_bytes(len(body) + size) + body


def _lz4_wrong_checksum(payload: bytes) -> bytes:
    framed = lz4.frame.compress(
        lz4.frame.decompress(payload), block_linked=False, store_size=False, content_checksum=True
    )
    return framed[:-4] + bytes(one ^ 255 for one in framed[-4:])


def _twice_gzip(payload: bytes) -> bytes:
    plain = gzip.decompress(payload)
    half = len(plain) // 2
    return gzip.compress(plain[:half]) + gzip.compress(plain[half:])


def _twice_zstd(payload: bytes) -> bytes:
    plain = bytes(cramjam.zstd.decompress(payload))
    half = len(plain) // 2
    return bytes(cramjam.zstd.compress(plain[:half])) + bytes(cramjam.zstd.compress(plain[half:]))


def _gzip_wrong_checksum(payload: bytes) -> bytes:
    return payload[:-8] + struct.pack("<I", zlib.crc32(b"another")) + payload[-4:]


_TAIL = b"a tail that is no frame"

HOSTILE: Mapping[str, MakeBatch] = MappingProxyType(
    {
        "lz4 content checksum": _batch(LZ4, _lz4_wrong_checksum),
        "lz4 two frames": _batch(LZ4, lambda one: one + compressed(LZ4, b"another frame")),
        "lz4 tail": _batch(LZ4, lambda one: one + _TAIL),
        "lz4 cut": _batch(LZ4, lambda one: one[:-2]),
        "lz4 junk": _batch(LZ4, lambda _: _TAIL),
        "gzip tail": _batch(GZIP, lambda one: one + _TAIL),
        "gzip two members": _batch(GZIP, _twice_gzip),
        "gzip checksum": _batch(GZIP, _gzip_wrong_checksum),
        "gzip cut": _batch(GZIP, lambda one: one[:-6]),
        "gzip junk": _batch(GZIP, lambda _: _TAIL),
        "snappy raw": _batch(
            SNAPPY,
            lambda one: bytes(cramjam.snappy.compress_raw(client_codec.snappy_decode(one))),
        ),
        "snappy tail": _batch(SNAPPY, lambda one: one + _TAIL),
        "snappy short tail": _batch(SNAPPY, lambda one: one + b"\0\0"),
        "snappy twice": _batch(SNAPPY, lambda one: one + compressed(SNAPPY, b"another")),
        "zstd two frames": _batch(ZSTD, _twice_zstd),
        "zstd tail": _batch(ZSTD, lambda one: one + _TAIL),
        "zstd cut": _batch(ZSTD, lambda one: one[:-2]),
        "zstd junk": _batch(ZSTD, lambda _: _TAIL),
        "unknown codec": lambda records: RawBatch(
            payload=plain_records(records), count=len(records), codec=5
        ).encoded(),
        **{
            f"{name} {what}": make
            for name, codec in (("plain", NONE), ("packed", ZSTD), ("gzipped", GZIP))
            for what, make in (
                ("count too high", _plain(codec, bytes, count=1, last_delta=1)),
                ("count too low", _plain(codec, bytes, count=-1, last_delta=-1)),
                ("count alone", _plain(codec, bytes, count=1)),
                ("record cut", _plain(codec, lambda one: one[:-3])),
                ("records tail", _plain(codec, lambda one: one + _TAIL)),
                ("offsets repeat", _records(codec, lambda _, one: _record(0, one))),
                ("offsets ahead", _records(codec, lambda at, one: _record(at, one, delta=10**6))),
                ("offsets below", _records(codec, lambda at, one: _record(at, one, delta=-9))),
                ("size too high", _records(codec, lambda at, one: _record(at, one, size=3))),
                ("size too low", _records(codec, lambda at, one: _record(at, one, size=-3))),
                ("key too long", _records(codec, lambda at, one: _record(at, one, key_size=10**6))),
                (
                    "headers lie",
                    _records(codec, lambda at, one: _record(at, one, headers=long_bytes(9))),
                ),
                (
                    "no headers",
                    _records(codec, lambda at, one: _record(at, one, headers=long_bytes(-1))),
                ),
            )
        },
    }
)
"""By name: makers of batches, of three records or more."""
READABLE = (
    "lz4 content checksum",
    "lz4 two frames",
    "lz4 tail",
    "gzip tail",
    "gzip two members",
    "snappy raw",
    "snappy short tail",
    "zstd two frames",
)
"""What a broker stores, and Java's client reads."""
UNREADABLE = (
    "plain offsets repeat",
    "plain offsets ahead",
    "plain offsets below",
    "packed size too high",
    "packed size too low",
    "gzipped size too high",
    "gzipped size too low",
)
"""What a broker stores, and what is in it cannot be told apart or placed."""


class BatchRefusedError(Exception):
    """The broker did not store a batch."""


class RawProducer(AbstractContextManager["RawProducer"]):
    """Writes batches as they are, to whichever broker leads a partition; without TLS and SASL."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._admin = clients.admin(settings)
        self._connections: dict[tuple[str, int], socket.socket] = {}
        self._leaders: dict[tuple[str, int], tuple[str, int]] = {}
        self._count = 0

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def produce(self, topic: str, partition: int, batch: bytes) -> int:
        """Write one ``batch``, and return the offset at which it begins.

        Raises BatchRefusedError where the broker does not store it.
        """
        limit = time.monotonic() + _WITHIN
        while True:
            error, offset = self._request(topic, partition, batch)
            if error == 0:
                return offset
            self._leaders.clear()
            if error != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > limit:
                raise BatchRefusedError(KafkaError(error).str())

    def _request(self, topic: str, partition: int, batch: bytes) -> tuple[int, int]:
        """Return the error and the offset that the leader answers; it may not be one any more."""
        name = topic.encode()
        self._count += 1
        request = struct.pack(">hhih", 0, 8, self._count, -1)  # Produce, version 8
        request += struct.pack(">hhii", -1, -1, int(_WITHIN * 1000), 1)  # all replicas; one topic
        request += struct.pack(">h", len(name)) + name
        request += struct.pack(">iii", 1, partition, len(batch)) + batch
        connection = self._connection(topic, partition)
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = _exactly(connection, struct.unpack(">i", _exactly(connection, 4))[0])
        _, error, offset = struct.unpack_from(">ihq", answer, 4 + 4 + 2 + len(name) + 4)
        return int(error), int(offset)

    def _connection(self, topic: str, partition: int) -> socket.socket:
        address = self._leaders.get((topic, partition))
        if address is None:
            found = self._admin.list_topics(topic, timeout=_WITHIN)
            leader = found.brokers.get(found.topics[topic].partitions[partition].leader)
            if leader is None:
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
            address = self._leaders[topic, partition] = leader.host, leader.port
        if address not in self._connections:
            self._connections[address] = socket.create_connection(address, _WITHIN)
        return self._connections[address]


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the broker closed the connection")
        data += more
    return data
