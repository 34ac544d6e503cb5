"""Take the gate's receipts into the history, each once.

A receipt that is read again (the topic was rewound, or created again) is found in the history by
its source, and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from confluent_kafka import Message

from izin.sinks.ingest.topic_reader import IngestedTopic
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.receipts import movements_of
from izin.sinks.record.unreadable import QuarantinedRecord


class ReceiptReader(IngestedTopic):
    """The topic of receipts."""

    alarm = "receipt quarantined"
    remedy = "izin dead-letters has it as it was; the history lacks it"

    async def store(self, messages: Sequence[Message]) -> None:
        """Append what ``messages`` say to the history."""
        codec = self.context.codec
        receipts = [
            codec.decode("GateReceipt", one.value() or b"")
            for one in messages
            if one.error() is None
        ]
        await self.save(messages, partial(_append, receipts=receipts, now=self.context.clock()))

    def quarantined(self, message: Message, error: Exception) -> QuarantinedRecord:
        """Return ``message`` as it is put aside for ``error``."""
        return replace(super().quarantined(message, error), of="receipt")


async def _append(
    connection: Connection, *, receipts: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Append the movements of ``receipts``: of the customer for whom the gate answered, which is
    the brand's only where the key that asked may ask about it.
    """
    movements = [found for one in receipts for found in movements_of(one)]
    await append.append(connection, movements, now=now)
