"""Rows of ``desired-consents`` in one form, so that rows with the same content are the same bytes.

A row that is framed as this installation frames stays as it is; any other one (an older schema,
another registry) is decoded and written again.
"""

from izin.schemas.codec import Codec
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import long_bytes, writer_of
from izin.schemas.records import fields_of_key
from izin.streams.fast_path.rows import RowWriter
from izin.streams.state.packing import Facts, facts_of

_SLASHES = 3
"""Of a canonical key, ``brand_code/type/recipient_type/recipient``."""
_text = writer_of("string")


class CanonicalRows:
    """Writes rows as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("Consent")
        self._writer = RowWriter(codec)
        self._prefixes: dict[bytes, bytes] = {}

    def of_facts(self, key: bytes, facts: Facts) -> bytes:
        """Return the row of ``facts`` about the canonical ``key``."""
        recipient = key.split(b"/", _SLASHES)[-1]
        prefix = key[: len(key) - len(recipient)]
        encoded = self._prefixes.get(prefix) or self._learn(prefix)
        return self._writer.write(encoded + long_bytes(len(recipient)) + recipient, *facts)

    def of_value(self, key: bytes, value: bytes) -> bytes:
        """Return the row that ``value`` is; raises UndecodableError."""
        if value.startswith(self._header):
            return value
        return self.of_facts(key, facts_of(self._codec.decode_consent(value)))

    def _learn(self, prefix: bytes) -> bytes:
        """Return the bytes of the fields of keys with ``prefix``, up to the recipient."""
        fields = fields_of_key(f"{prefix.decode()}-")
        encoded = b"".join(
            (
                long_bytes(fields["brand_code"]),
                _text(fields["type"]),
                _text(fields["recipient_type"]),
            )
        )
        return put(self._prefixes, prefix, encoded)
