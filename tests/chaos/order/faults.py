"""The faults of the order campaign, how often each is injected, and those that last.

Hanging transactions, a silent network, junk and a full disk last while others are injected. Each
ends by itself, and leaves the outage that it was.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from random import Random

from confluent_kafka import KafkaException, Producer

from izin.consent import AdmittedEvent, Status, decide
from izin.kafka import clients
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro, event_to_avro
from tests.chaos.order.brokers import Network
from tests.chaos.order.instrumented_worker import FaultPoint
from tests.chaos.pipeline import InputFault
from tests.support.builders import NOON
from tests.support.hostile.small_disk import SmallDisk
from tests.support.order.harness import flood
from tests.support.order.verdict import Outage
from tests.support.published import admitted, keys_in

HANGS_FOR = 14.0
"""Longer than a transaction of ours may last (10 s), so nothing of ours ends it."""
_ABANDONED_AFTER = 8.0
"""The time-out of a transaction whose producer is gone: its coordinator aborts it then, or up to
10 s later."""
_ABORTED_WITHIN = 10.0
_CALL = 20.0
SILENT_FOR = (4.0, 12.0)
"""Shorter and longer than the session (6 s) and than a transaction may last."""
_FULL_FOR = 4.0
_ENDED_WITHIN = 90.0
_MOST_OUTAGES = 4
"""No transaction more hangs while so many do: most partitions are to be decided."""
JUNK = 500
"""Undecodable records, and refused ones, of a flood of each lane."""


class OrderFault(StrEnum):
    """A fault of workers that own partitions, or of their brokers."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    FREEZE = "frozen, then a zombie"
    KILL_AT_POINT = "killed at a fault point"
    FREEZE_AT_POINT = "frozen at a fault point"
    BROKER_KILL = "broker killed"
    BROKER_FREEZE = "broker frozen"
    LEADER_KILL = "leader killed while catching up"
    EXPIRE = "transactional ids expired"
    EXPIRE_FROZEN = "transactional ids expired under a frozen worker"
    FREEZE_LONG = "frozen beyond its transaction, then a zombie"
    HANG_LANE = "transaction hangs in a lane"
    HANG_ROWS = "transaction hangs in desired-consents"
    SILENT_WORKER = "network of a worker silent"
    SILENT_BROKER = "network of a broker silent"
    CLOCK = "clock moved"
    FLOOD = "junk flood"
    RECORDS = InputFault.RECORDS.value
    HUGE = InputFault.HUGE.value
    BATCHES = InputFault.UNREADABLE.value
    DISK = "disk of a state full"


AT_POINTS = frozenset({OrderFault.KILL_AT_POINT, OrderFault.FREEZE_AT_POINT})

WEIGHTS: Mapping[OrderFault, int] = {
    OrderFault.KILL: 16,
    OrderFault.TERM: 8,
    OrderFault.FREEZE: 8,
    OrderFault.KILL_AT_POINT: 30,
    OrderFault.FREEZE_AT_POINT: 10,
    OrderFault.BROKER_KILL: 1,
    OrderFault.BROKER_FREEZE: 1,
    OrderFault.LEADER_KILL: 5,
    OrderFault.EXPIRE: 1,
    OrderFault.EXPIRE_FROZEN: 1,
    OrderFault.FREEZE_LONG: 4,
    OrderFault.SILENT_WORKER: 8,
}
"""How often each comes up in a long campaign, relative to the others."""

OVERLAPPING: Mapping[OrderFault, int] = {
    OrderFault.HANG_LANE: 4,
    OrderFault.HANG_ROWS: 4,
    OrderFault.SILENT_BROKER: 2,
    OrderFault.CLOCK: 4,
    OrderFault.FLOOD: 3,
    OrderFault.RECORDS: 3,
    OrderFault.HUGE: 1,
    OrderFault.BATCHES: 2,
    OrderFault.DISK: 2,
}
"""The same of those that nobody waits for: they are injected between the others and during them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """A fault that took effect."""

    at: float
    """Seconds since the campaign began."""
    fault: OrderFault
    target_name: str
    point: FaultPoint | None = None

    def __str__(self) -> str:
        where = f" ({self.point})" if self.point else ""
        return f"{self.at:7.1f} s  {self.target_name:<9} {self.fault}{where}"


class LastingFaults:
    """The faults that last now, and the outages so far."""

    def __init__(
        self,
        settings: KafkaSettings,
        network: Network,
        random: Random,
        disk: SmallDisk | None = None,
    ) -> None:
        self.outages: list[Outage] = []
        self._settings = settings
        self._codec = Codec()
        self._network = network
        self._random = random
        self._threads: list[threading.Thread] = []
        self._silent_until = 0.0
        self._disk = disk
        self.is_disk_full = False
        self.silent_worker: str | None = None
        """The one that is cut off now."""

    @property
    def are_over(self) -> bool:
        """Whether none lasts; drops those that ended."""
        self._threads = [one for one in self._threads if one.is_alive()]
        return not self._threads

    @property
    def held_back(self) -> set[int | None]:
        """The partitions of which an outage lasts; None: of all."""
        return {one.partition for one in self.outages if one.ended == float("inf")}

    def is_silent(self, worker: str) -> bool:
        """Return whether a network is silent that `worker` needs."""
        return time.monotonic() < self._silent_until and self.silent_worker in {None, worker}

    def finish(self) -> None:
        """Wait for the end of all of them."""
        for thread in self._threads:
            thread.join(_ENDED_WITHIN)
        assert self.are_over, "a fault never ended"

    def outage(self, partition: int | None = None) -> Outage:
        """Begin an outage: whoever ends it sets `ended`."""
        found = Outage(time.time(), partition=partition)
        self.outages.append(found)
        return found

    def inject_into_partition(self, fault: OrderFault) -> tuple[str, None] | None:
        """Inject a transaction that hangs, or junk; return where, None where it is not possible."""
        topics, partition = self._settings.topics, self._random.randrange(self._settings.partitions)
        if fault is OrderFault.FLOOD:
            is_done = flood(self._settings, partition, undecodable=JUNK, refused=JUNK)
            return (f"[{partition}]", None) if is_done else None
        if len(self.held_back) >= _MOST_OUTAGES:
            return None
        topic = topics.desired_consents.name
        if fault is OrderFault.HANG_LANE:
            topic = self._random.choice((topics.events.name, topics.express.name))
        return (f"{topic}[{partition}]", None) if self._hang(topic, partition) else None

    def fill_disk(self) -> tuple[str, None] | None:
        """Let the disk of a worker's state be full; no outage, for others may take over."""
        disk = self._disk
        if disk is None or self.is_disk_full:
            return None
        self.is_disk_full = True
        disk.fill()

        def clear() -> None:
            time.sleep(_FULL_FOR)
            disk.clear()
            self.is_disk_full = False

        self._begin(clear)
        return "disk", None

    def silence_broker(self) -> tuple[str, None] | None:
        """Cut all workers off from one broker: an outage even where there are others, for it goes
        on to lead what it leads, and nobody replaces it.
        """
        broker = self._random.choice(list(self._network.brokers))
        is_silent = self._silence(broker=broker, is_outage=True)
        return (f"broker-{broker}", None) if is_silent else None

    def silence_worker(self, name: str) -> tuple[str, None] | None:
        """Cut a worker off from every broker; no outage, for others may take over."""
        return (name, None) if self._silence(worker=name) else None

    def _silence(
        self, *, worker: str | None = None, broker: int | None = None, is_outage: bool = False
    ) -> bool:
        """Silence the network for some seconds; False where it is silent already."""
        now = time.monotonic()
        if now < self._silent_until:
            return False
        seconds = self._random.uniform(*SILENT_FOR)
        self._silent_until = now + seconds + 1
        outage, self.silent_worker = self.outage() if is_outage else None, worker
        self._network.silence(worker=worker, broker=broker)

        def resume() -> None:
            time.sleep(seconds)
            self._network.resume()
            self.silent_worker = None
            if outage is not None:
                outage.ended = time.time()

        self._begin(resume)
        return True

    def _begin(self, last: Callable[[], None]) -> None:
        thread = threading.Thread(target=last, name="lasting fault", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _hang(self, topic: str, partition: int) -> bool:
        """Leave a foreign transaction open in `partition` of `topic`; False if none could begin.

        Half of them end by their producer's abort, half because nobody ends them. What they wrote
        would be wrong to read: an opt-out, or its row, of a recipient of that partition. The
        partition's outage ends when its committed end passes the transaction.
        """
        is_abandoned = self._random.random() < 0.5
        limit = _ABANDONED_AFTER if is_abandoned else HANGS_FOR + 1
        producer = clients.producer(
            self._settings,
            **{
                "transactional.id": f"foreign-{uuid.UUID(int=self._random.getrandbits(128))}",
                "transaction.timeout.ms": int(limit * 1000),
            },
        )
        outage = self.outage(partition)
        offset = self._open(producer, topic, partition)

        if offset is None:  # and nobody knows whether it began
            outage.ended = time.time() + limit + _ABORTED_WITHIN
            return False

        def end(written: int = offset) -> None:
            time.sleep(HANGS_FOR)
            while not self._is_passed(topic, partition, written):
                if not is_abandoned:
                    _abort(producer)
                time.sleep(0.5)
            outage.ended = time.time()

        self._begin(end)
        return True

    def _open(self, producer: Producer, topic: str, partition: int) -> int | None:
        """Return the offset of a record in an open transaction; None where the broker fails."""
        offsets: list[int | None] = []
        opt_out = opt_out_in(partition, self._settings.partitions)
        if topic == self._settings.topics.desired_consents.name:
            value = self._codec.encode("Consent", consent_to_avro(decide(None, opt_out).consent))
        else:
            value = self._codec.encode("ConsentEvent", event_to_avro(opt_out.event))
        try:
            producer.init_transactions(_CALL)
            producer.begin_transaction()
            producer.produce(
                topic,
                key=opt_out.key.encode(),
                value=value,
                partition=partition,
                on_delivery=lambda error, message: offsets.append(
                    message.offset() if error is None else None
                ),
            )
            producer.flush(_CALL)
        except KafkaException:
            return None
        return offsets[0] if offsets else None

    def _is_passed(self, topic: str, partition: int, offset: int) -> bool:
        try:
            return clients.committed_ends(self._settings, topic)[partition] > offset
        except BrokerError:
            return False


def _abort(producer: Producer) -> None:
    try:
        producer.abort_transaction(_CALL)
    except KafkaException:
        return  # ended by its coordinator, or to be tried again


def opt_out_in(partition: int, partitions: int) -> AdmittedEvent:
    """Return an opt-out, later than all others, of a recipient of `partition`."""
    recipient = next(keys_in(partition, partitions=partitions)).recipient
    later = NOON + timedelta(days=30)
    return admitted(later, Status.RET, recipient=recipient, event_id=f"never-{recipient}")
