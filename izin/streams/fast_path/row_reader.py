"""Read the facts of a row of ``desired-consents`` by a pattern: new workers read millions of rows.

The pattern is the row as we write it: words of the law, instants of our days, a UUID. What does not
match takes the general path, ``Codec.decode_consent``; a test compares the two.

Fields that many rows share are recognized by their bytes, once the codec has read a row with them.
The pattern cannot know where an origin ends, for Avro writes a text's size before it; but no text
begins with the bytes of another whole one, so known bytes are found where they are and nowhere
else.
"""

import re
from collections.abc import Iterable

from izin.consent.enums import Channel, RecipientType, Status
from izin.schemas.codec import Codec
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import writer_of
from izin.streams.fast_path.row_writer import row_fields
from izin.streams.state.packing import NEVER, Facts, SharedFields, facts_of

_ONE_BYTE = 128
_MILLISECOND = 1000

_text = writer_of("string")
_or_text = writer_of(["null", "string"])


def _any(words: Iterable[str]) -> bytes:
    return b"(?:" + b"|".join(re.escape(_text(word)) for word in words) + b")"


_EVEN = b"".join(re.escape(bytes((byte,))) for byte in range(_ONE_BYTE, 2 * _ONE_BYTE, 2))
_INSTANT = rb"[" + _EVEN + rb"][\x80-\xff]{4}[\x01-\x7f]"
"""A number of six bytes, above zero: milliseconds from 1970 to 2039."""
_OR_INSTANT = rb"(?:\x00|\x02(" + _INSTANT + rb"))"
_HEX = rb"[0-9a-f]"
_UUID = _HEX + rb"{8}(?:-" + _HEX + rb"{4}){3}-" + _HEX + rb"{12}"

_kind = re.compile(rb"[\x80-\xff]{0,4}[\x00-\x7f]" + _any(Channel) + _any(RecipientType)).match
"""Brand code, type and recipient type."""
_rest = re.compile(
    rb"(" + _any(Status) + rb")(?:\x00|\x02" + _any(Status) + rb")"
    rb"(" + _INSTANT + rb")"
    rb"([\x00-\x7f])"
    rb"\x48(" + _UUID + rb")"
    rb"(.+?)" + _OR_INSTANT + rb"([\x00\x01])" + _OR_INSTANT + _OR_INSTANT + rb"([\x00-\x7f])",
    re.DOTALL,
).fullmatch
"""From the status on; the groups: status, effective instant, rank, event id, origin and source,
consent date, whether it is registrable, the latest ONAY and RET, the law's version."""

SharedBytes = tuple[bytes, ...]
"""The shared fields as bytes: customer, status, rank, origin and source, registrable, law."""


class RowReader:
    """Reads rows that ``codec`` frames, and any others through it."""

    def __init__(self, codec: Codec) -> None:
        row_fields()  # the pattern is made for them
        self._codec = codec
        self._header = codec.header("Consent")
        self._shared: dict[SharedBytes, SharedFields] = {}

    def read(self, row: bytes) -> Facts:
        """Return all of ``row`` but its key; raises as :meth:`Codec.decode_consent`."""
        start = len(self._header)
        at = self._customer_and_key(row, start) if row.startswith(self._header) else None
        found = None if at is None else _rest(row, at[1])
        if at is None or found is None:
            return facts_of(self._codec.decode_consent(row))
        # fmt: off
        (status, instant, rank, event_id, origin, dated, registrable, onay, ret,
         law) = found.groups()
        # fmt: on
        encoded = row[start : at[0]], status, rank, origin, registrable, law
        shared = self._shared.get(encoded)
        if shared is None:
            return self._learn(encoded, row)
        effective = _microseconds(instant)
        # Mostly they are the same instant.
        return (
            shared,
            effective,
            NEVER if not dated else effective if dated == instant else _microseconds(dated),
            NEVER if not onay else effective if onay == instant else _microseconds(onay),
            NEVER if not ret else effective if ret == instant else _microseconds(ret),
            event_id,
        )

    def _customer_and_key(self, row: bytes, start: int) -> tuple[int, int] | None:
        """Return the ends of the customer and of the key of ``row``; None where their texts are
        long or not ASCII, or the row ends before.
        """
        try:
            size = row[start]
            customer = start + 1 + (size >> 1)
            kind = _kind(row, customer)
            if kind is None:
                return None
            at = kind.end()
            other = row[at]
        except IndexError:
            return None
        end = at + 1 + (other >> 1)
        sizes = size | other
        is_short = not sizes & 1 and sizes < _ONE_BYTE
        is_ascii = row[start:customer].isascii() and row[at:end].isascii()
        return (customer, end) if is_short and is_ascii else None

    def _learn(self, encoded: SharedBytes, row: bytes) -> Facts:
        """Return what the codec reads of ``row``; its shared fields are then known if the pattern
        separated them correctly.
        """
        facts = facts_of(self._codec.decode_consent(row))
        _, _, _, origin, source, _, _ = facts[0]
        if encoded[3] == _text(origin) + _or_text(source):
            put(self._shared, encoded, facts[0])
        return facts


def _microseconds(instant: bytes) -> int:
    bits = int.from_bytes(instant, "little")
    return (
        (
            bits & 0x7F
            | bits >> 1 & 0x3F80
            | bits >> 2 & 0x1FC000
            | bits >> 3 & 0xFE00000
            | bits >> 4 & 0x7F0000000
            | bits >> 5 & 0x3F800000000
        )
        // 2
        * _MILLISECOND
    )
