"""A Decision around the bytes that are there already.

Its last two fields are a whole Consent and a whole ConsentEvent. Avro writes a record inside a
record as its bytes alone, so the row written to ``consents`` and, where admission changed nothing,
the event as it came, are put in as they are: three quarters of the encoding is saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from izin.schemas import contracts
from izin.schemas.avro_writer import writer_of
from izin.schemas.records import decision_head_to_avro

if TYPE_CHECKING:
    from izin.consent.model import Decision
    from izin.schemas.codec import Codec

_INSIDE = ("consent", "event")


class DecisionWriter:
    """Encodes decisions with ``codec``'s framing."""

    def __init__(self, codec: Codec) -> None:
        self._header = codec.header("Decision")
        *head, consent, event = contracts.current()["Decision"].schema["fields"]
        if (consent["name"], event["name"]) != _INSIDE:
            raise ValueError(f"the contract of Decision must end with {_INSIDE}")
        self._write_head = writer_of({"type": "record", "name": "Head", "fields": head})

    def encode(  # noqa: PLR0913  # the decision and where it was made, by keyword
        self,
        decision: Decision,
        *,
        topic: str,
        partition: int,
        offset: int,
        consent: bytes,
        event: bytes,
    ) -> bytes:
        """Return ``decision`` of the record at these coordinates, framed.

        ``consent`` is its Consent and ``event`` its ConsentEvent, each as a body without a frame.
        """
        head = self._write_head(
            decision_head_to_avro(decision, topic=topic, partition=partition, offset=offset)
        )
        return b"".join((self._header, head, consent, event))
