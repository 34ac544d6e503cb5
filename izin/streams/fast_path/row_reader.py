"""Read the facts of a row of ``desired-consents`` by offsets: new workers read millions of rows.

Fields that many rows share are recognized by their bytes, once the codec has read a row with them;
of the others only the instants and the event's id are read. A row that is wrong or unusual takes
the general path, ``Codec.decode_consent``; a test compares the two.
"""

from typing import Final

from izin.schemas.codec import Codec
from izin.schemas.fast.cache import put
from izin.schemas.generated.decision_offsets import consent_offsets
from izin.streams.fast_path.row_writer import row_fields
from izin.streams.state.packing import NEVER, Facts, SharedFields, facts_of

_ONE_BYTE: Final = 128
_MILLISECOND: Final = 1000

SharedBytes = tuple[bytes, ...]
"""The shared fields as bytes: customer to recipient type, both statuses, rank, origin and source,
whether it is registrable, the law's version."""


class RowReader:
    """Reads rows that ``codec`` frames, and any others through it."""

    def __init__(self, codec: Codec) -> None:
        row_fields()  # facts are made of them
        self._codec = codec
        self._header = codec.header("Consent")
        self._shared: dict[SharedBytes, SharedFields] = {}

    def read(self, row: bytes) -> Facts:
        """Return all of ``row`` but its key; raises as :meth:`Codec.decode_consent`."""
        start = len(self._header)
        # fmt: off
        try:
            (kinds, recipient, statuses, instant, rank, event_id, origin, dated, registrable,
             latest, effective, consent_date, onay, ret, end) = consent_offsets(row, start)
        except (IndexError, ValueError, TypeError):
            end = -1
        # fmt: on
        if end != len(row) or not row.startswith(self._header) or row[rank] >= _ONE_BYTE:
            return facts_of(self._codec.decode_consent(row))
        encoded = (
            row[start:kinds],
            row[recipient:statuses],
            row[instant:rank],
            row[event_id:origin],
            row[dated:registrable],
            row[latest:],
        )
        shared = self._shared.get(encoded)
        if shared is None:
            shared = put(self._shared, encoded, facts_of(self._codec.decode_consent(row))[0])
        return (
            shared,
            effective * _MILLISECOND,
            NEVER if consent_date is None else consent_date * _MILLISECOND,
            NEVER if onay is None else onay * _MILLISECOND,
            NEVER if ret is None else ret * _MILLISECOND,
            row[rank + 1 : event_id],
        )
