"""A state of the gate that a test writes, and a topic of receipts in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from izin.consent import Channel, ConsentKey
from izin.consent.may_send import PermissionReason, unregistered
from izin.gate.receipts import ReceiptRecord
from izin.gate.state import ForeignTokenError, Standing
from izin.kafka.tables.brand_directory import RegisteredBrand
from izin.runtime.errors import BrokerError
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition
from izin.schemas.partitioning import partition_of
from izin.schemas.topics import Topics
from tests.support.builders import BRAND, CUSTOMER, NOON, a_key

CODEC = Codec()
TOPICS = Topics()
FOREIGN_BRAND = 200001
"""Of the customer ``beta``."""
PARTITIONS = 4


def a_standing(
    reason: PermissionReason = PermissionReason.REGISTERED,
    *,
    opted_out: bool = False,
    retailers: Iterable[int] = (),
) -> Standing:
    """Return what is known of a key: İYS holds a consent, unless a test says otherwise."""
    return Standing(reason=reason, opted_out=opted_out, retailers=frozenset(retailers))


def a_brand(
    customer_id: str = CUSTOMER, status: str = "active", suspension: str | None = None
) -> RegisteredBrand:
    """Return a brand of which the gate uses these fields alone."""
    return RegisteredBrand(
        brand_code=0,
        iys_code=0,
        customer_id=customer_id,
        name="",
        status=status,
        suspension=suspension,
    )


@dataclass
class FakeState:
    """A state that is current, of two brands of two customers, and of no key."""

    standings: dict[str, Standing] = field(default_factory=dict)
    """By canonical key."""
    known_brands: dict[int, RegisteredBrand] = field(
        default_factory=lambda: {
            BRAND: a_brand(customer_id=CUSTOMER, status="active", suspension=None),
            FOREIGN_BRAND: a_brand(customer_id="beta", status="active", suspension=None),
        }
    )
    pulled: dict[tuple[int, Channel], datetime] = field(default_factory=dict)
    pulled_at: datetime | None = NOON
    """Of every channel that ``pulled`` lacks."""
    behind: set[int] = field(default_factory=set)
    """The partitions that are not current."""
    read: int = 7
    """The last offset of each lane's partitions."""
    waited: list[float] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    """Its faults."""

    def put(self, standing: Standing, **of: object) -> None:
        """Set what is known of the key of ``of``."""
        self.standings[str(a_key(**of))] = standing

    def standing(self, key: ConsentKey) -> Standing:
        """Return what is known of a key."""
        nothing = a_standing(unregistered(key.recipient_type))
        return self.standings.get(str(key), nothing)

    def partition_of(self, key: ConsentKey) -> int:
        """Return the partition of a key."""
        return partition_of(key.encode(), PARTITIONS)

    def is_current(self, partition: int) -> bool:
        """Whether a partition is current."""
        return partition not in self.behind

    def brand(self, brand_code: int) -> RegisteredBrand | None:
        """Return a brand."""
        return self.known_brands.get(brand_code)

    def brands(self) -> Mapping[int, RegisteredBrand]:
        """Return every brand."""
        return self.known_brands

    def iys_pulled_at(self, brand_code: int, channel: Channel) -> datetime | None:
        """Return when İYS was pulled."""
        return self.pulled.get((brand_code, channel), self.pulled_at)

    def positions(self, partitions: Iterable[int] | None = None) -> list[LogPosition]:
        """Return how far both lanes were read."""
        numbers = range(PARTITIONS) if partitions is None else sorted(partitions)
        lanes = (TOPICS.events.name, TOPICS.express.name)
        return [LogPosition(lane, number, self.read) for lane in lanes for number in numbers]

    async def reached(self, token: Sequence[LogPosition], within: float) -> bool:
        """Return whether what a token names was read."""
        self.waited.append(within)
        if any(topic not in {TOPICS.events.name, TOPICS.express.name} for topic, _, _ in token):
            raise ForeignTokenError
        return all(offset <= self.read for _, _, offset in token)

    def faults(self) -> Mapping[str, str]:
        """Return the faults."""
        return self.said

    def counts(self) -> SimpleNamespace:
        """Return some counts."""
        return SimpleNamespace(keys=len(self.standings), undecided=1, unreadable=0, bytes=25)


@dataclass
class FakeReceipts:
    """Keeps the receipts that are written."""

    written: list[dict[str, Any]] = field(default_factory=list)
    records: list[ReceiptRecord] = field(default_factory=list)
    is_away: bool = False

    async def write(self, records: Iterable[ReceiptRecord]) -> None:
        """Take receipts, or raise BrokerError."""
        if self.is_away:
            raise BrokerError("away")
        for one in records:
            self.records.append(one)
            self.written.append(dict(CODEC.decode("GateReceipt", one.value)))


LATER = NOON + timedelta(minutes=1)
"""When questions are asked."""
