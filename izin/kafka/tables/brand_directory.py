"""The registered brands and their customers, read from the compacted topic ``brands``.

An event needs the customer of its brand, so nothing can be published for a brand that is not
registered. The ledger writes the topic; a process reads it to its end at the start, and a long-
running one follows it. A tombstone removes a brand.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime

from izin.consent import SYNTHETIC_BRAND, SYNTHETIC_CUSTOMER, SourceError
from izin.kafka.access import KafkaAccess
from izin.kafka.follower import TopicFollower
from izin.schemas.codec import Codec
from izin.schemas.records import AvroRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredBrand:
    """A brand at İYS and the customer it belongs to."""

    brand_code: int
    iys_code: int
    customer_id: str
    name: str
    activated_at: datetime | None = None
    loading_deadline: datetime | None = None
    status: str = "active"
    suspension: str | None = None
    """Why an operator has stopped the messages of the brand; None: nobody has."""

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is done for it: its customer was offboarded, or somebody said so."""
        return self.status == "stopped"


NOBODY = ""
"""The customer of a brand that is not registered."""


def customer_of(customers: Mapping[int, str], brand_code: int) -> str:
    """Return whose a brand is today, by the registered ``customers``, and ``NOBODY`` where it is
    not registered. The customer that an event names is not asked: whoever publishes may name any.
    """
    return customers.get(brand_code, NOBODY)


_FIELDS = tuple(field.name for field in fields(RegisteredBrand))


SYNTHETIC = RegisteredBrand(
    brand_code=SYNTHETIC_BRAND,
    iys_code=SYNTHETIC_BRAND,
    customer_id=SYNTHETIC_CUSTOMER,
    name="synthetic opt-outs",
    suspension="of nobody",
)
"""The one brand that every directory has, and no topic: a record of it changes nothing."""


class UnknownBrandError(SourceError):
    """A brand code that is not registered here."""

    def __init__(self, brand_code: int | str) -> None:
        super().__init__(
            "brand %(brand)s is not registered; correct the code, or register the brand: "
            "izin brands add %(brand)s …",
            brand=brand_code,
        )
        self.brand_code = brand_code


class StoppedBrandError(SourceError):
    """A brand for which nothing more is done."""

    def __init__(self, brand_code: int) -> None:
        super().__init__(
            "brand %(brand)s is stopped, or its customer was offboarded: nothing is published "
            "for it; correct the code, or start the brand again: izin brands add",
            brand=brand_code,
        )


class BrandDirectory:
    """The brands known now, by code. Written by one thread, read by any."""

    def __init__(self, brands: Iterable[RegisteredBrand] = ()) -> None:
        self._brands = {brand.brand_code: brand for brand in brands}
        self.customers = {one.brand_code: one.customer_id for one in (SYNTHETIC, *self)}
        """Whose each brand is."""

    def find(self, brand_code: int) -> RegisteredBrand | None:
        """Return the brand of ``brand_code``; None where it is not registered."""
        return SYNTHETIC if brand_code == SYNTHETIC_BRAND else self._brands.get(brand_code)

    def get(self, brand_code: int) -> RegisteredBrand:
        """Return the brand of ``brand_code``.

        Raises:
            UnknownBrandError: it is not registered.
        """
        found = self.find(brand_code)
        if found is None:
            raise UnknownBrandError(brand_code)
        return found

    def put(self, record: AvroRecord) -> None:
        """Add or replace the brand of a ``record`` of the topic."""
        brand = RegisteredBrand(**{name: record[name] for name in _FIELDS})
        if brand.brand_code != SYNTHETIC_BRAND:
            self._brands[brand.brand_code] = brand
            self.customers[brand.brand_code] = brand.customer_id

    def remove(self, key: bytes) -> None:
        """Remove the brand of a ``key`` of the topic, if it is known."""
        if self._brands.pop(int(key), None) is not None:
            del self.customers[int(key)]

    def unreadable(self, key: bytes) -> None:
        """Keep what is known of the brand: its events must not be refused."""

    def __len__(self) -> int:
        return len(self._brands)

    def __iter__(self) -> Iterator[RegisteredBrand]:
        """Yield the brands as they are now."""
        return iter(list(self._brands.values()))


class BrandReader:
    """Reads the topic ``brands`` into a directory: to its end, then continuously."""

    def __init__(self, access: KafkaAccess, codec: Codec) -> None:
        self.directory = BrandDirectory()
        self._follower = TopicFollower(access, codec, access.topics.brands, self.directory)

    def complete_at(self) -> float:
        """Return for which instant, by ``time.monotonic``, the directory is known to be complete;
        minus infinity: for none.
        """
        return self._follower.complete_at(0)

    def stop(self) -> None:
        """End reading soon."""
        self._follower.stop()

    @contextmanager
    def follow(self) -> Iterator[BrandDirectory]:
        """Yield the directory, complete and kept up to date until the context ends.

        Raises:
            BrokerError: the topic cannot be read.
        """
        with self._follower.follow():
            yield self.directory

    def load(self) -> BrandDirectory:
        """Return the directory as it is now.

        Raises:
            BrokerError: the topic cannot be read.
        """
        self._follower.load()
        return self.directory
