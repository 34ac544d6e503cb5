"""Receipts: what was answered to whom, in the topic ``gate-receipts``, before the answer is given.

A receipt is acknowledged by Kafka, or nothing is answered. One whose answer then does not reach its
client stands all the same: it says what was said, not what was sent.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from izin.gate.question import AskedQuestion
from izin.gate.verdicts import Verdicts
from izin.kafka.follower import in_thread
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.schemas.api_keys import ApiKey
from izin.schemas.codec import Codec
from izin.schemas.may_send_api import ReceiptKind
from izin.schemas.records import AvroRecord, Headers, headers
from izin.schemas.topics import Topic

DELIVERED_WITHIN = 5.0
"""Seconds in which Kafka must acknowledge a receipt."""
OPTIONS = {"linger.ms": 1, "message.timeout.ms": int(DELIVERED_WITHIN * 1000)}
"""Of the producer."""
_SOURCE = "/gate"
_POLL = 0.5
_AT_ONCE = 500
"""So many receipts are enqueued before others in the event loop have their turn."""
_FULL_FOR = 0.01

_log = get_logger(__name__)


class ReceiptRecord(NamedTuple):
    """A receipt as a Kafka record."""

    key: bytes
    value: bytes
    headers: Headers


def receipt_records(  # noqa: PLR0913  # what a receipt says
    question: AskedQuestion,
    answered: Verdicts,
    key: ApiKey,
    codec: Codec,
    *,
    receipt_id: str,
    customer_id: str,
    names_recipients: bool,
    asked_at: datetime,
    as_of: str,
) -> Iterator[ReceiptRecord]:
    """Yield the receipt of a list of verdicts, or one of each verdict.

    Of a brand that is not the key's it is the key's customer's, and does not name recipients: these
    would be in the history of somebody whom they gave nothing.
    """
    shared = {
        "receipt_id": receipt_id,
        "index": None,
        "customer_id": customer_id,
        "brand_code": question.brand_code,
        "type": str(question.channel),
        "recipient_type": str(question.recipient_type),
        "recipient": None,
        "may_send": None,
        "reason": None,
        "recipients": len(question.recipients),
        "reasons": {str(reason): count for reason, count in answered.reasons.items()},
        "digest": answered.digest or "",
        "message_class": str(question.message_class),
        "basis": question.basis,
        "campaign": question.campaign,
        "retailer_code": question.retailer_code,
        "asked_by": key.name,
        "asked_at": asked_at,
        "as_of": as_of,
    }

    def record(event_id: str, value: AvroRecord) -> ReceiptRecord:
        return ReceiptRecord(
            key=receipt_id.encode(),
            value=codec.encode("GateReceipt", value),
            headers=headers(record="GateReceipt", event_id=event_id, source=_SOURCE, at=asked_at),
        )

    if question.receipt is ReceiptKind.LIST:
        yield record(receipt_id, shared)
        return
    for index, (recipient, verdict) in enumerate(answered.recipients):
        decision: dict[str, Any] = {
            "index": index,
            "recipient": recipient if names_recipients else None,
            "may_send": verdict.may_send,
            "reason": str(verdict.reason),
        }
        yield record(f"{receipt_id}/{index}", shared | decision)


class ReceiptWriter:
    """Writes receipts to ``topic``; used within :meth:`open`.

    ``connect`` returns a producer; another one takes its place where it has failed for good.
    """

    def __init__(self, topic: Topic, connect: Callable[[], Producer]) -> None:
        self._topic = topic
        self._connect = connect
        self._producer = connect()
        self._stopped = threading.Event()

    async def write(self, records: Iterable[ReceiptRecord]) -> None:
        """Return once every one of ``records`` is acknowledged.

        Raises:
            BrokerError: one of them is not; some may be in the topic.
        """
        written = _Written(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(2 * DELIVERED_WITHIN):
                for number, one in enumerate(records, 1):
                    await self._enqueue(one, written)
                    if number % _AT_ONCE == 0:
                        await asyncio.sleep(0)
                written.all_enqueued()
                await written.done
        except TimeoutError:
            raise BrokerError("Kafka did not acknowledge in time") from None
        except KafkaException as error:
            fault = error.args[0]
            if fault.fatal():
                _log.error("receipts not written, connecting anew", error=fault.str())
                self._producer = self._connect()
            raise BrokerError(f"{self._topic.name}: {fault.str()}") from error

    async def _enqueue(self, record: ReceiptRecord, written: "_Written") -> None:
        while True:
            written.expect()
            try:
                self._producer.produce(
                    self._topic.name,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                    on_delivery=written.delivered,
                )
            except BufferError:
                written.expect(-1)
                await asyncio.sleep(_FULL_FOR)
            else:
                return

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(_POLL)

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Yield this writer, which is flushed where the context ends."""
        with in_thread(self._poll, "receipts", self._stopped):
            yield self
        self._producer.flush(DELIVERED_WITHIN)


class _Written:
    """Counts the records that are to be acknowledged, over two threads; ``done`` when all are."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._lock = threading.Lock()
        self._missing = 1
        self._error: KafkaError | None = None

    def expect(self, count: int = 1) -> None:
        """Expect so many more, before they are enqueued."""
        with self._lock:
            self._missing += count

    def all_enqueued(self) -> None:
        """Be done when what is expected now has come."""
        self.delivered(None, None)

    def delivered(self, error: KafkaError | None, _message: Message | None) -> None:
        """Take the acknowledgement of one record, or its ``error``."""
        with self._lock:
            self._missing -= 1
            self._error = self._error or error
            is_over = self._missing == 0
        if is_over:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self.done.done():  # nobody waits any more
            return
        if self._error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(KafkaException(self._error))
