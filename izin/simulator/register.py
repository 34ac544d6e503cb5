"""The register of one brand: the current record of each key, and every movement in order.

A key is (type, recipientType, recipient). Only the creation date orders movements; it is stamped
here. Movements of one address and type saved in the same second share their transactionId, as İYS's
do.
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256

from izin.simulator.accounts import Brand
from izin.simulator.clock import wire_text
from izin.simulator.fields import Consent

Key = tuple[str, str, str]


class Path(StrEnum):
    """How a movement came."""

    SINGLE = "single"
    BATCH = "batch"
    CITIZEN = "citizen"
    PORTAL = "portal"
    INTEGRATOR = "integrator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Who brought a movement: client address, request and (in a batch) sub-request."""

    path: Path
    client: str
    request_id: str
    sub_request_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """An accepted movement. Dates are wire texts; `second` is the creation date in epoch seconds.

    `occurred_at` is the machine's epoch milliseconds, `sequence` counts the brand's movements from
    1.
    """

    type: str
    recipient_type: str
    recipient: str
    status: str
    source: str
    consent_date: str
    retailer_code: int | None
    retailer_access: tuple[int, ...]
    second: int
    brand_code: int
    origin: Origin
    occurred_at: int
    sequence: int
    citizen_name: str = ""
    is_change: bool = True  # a first movement, or one to another status

    @property
    def creation_date(self) -> str:
        """When İYS saved it, as a wire text."""
        return wire_text(self.second)

    @property
    def transaction_id(self) -> str:
        """64 hex digits, the same for all movements of one address and type in one second."""
        text = f"{self.brand_code}/{self.type}/{self.recipient}/{self.second}"
        return sha256(text.encode()).hexdigest()

    @property
    def key(self) -> Key:
        """The record it speaks of."""
        return (self.type, self.recipient_type, self.recipient)


class Register:
    """Records and movements of one brand."""

    def __init__(self, brand_code: int) -> None:
        self._brand_code = brand_code
        self._counts: dict[Key, int] = {}
        self._addresses: set[str] = set()
        self._approvals = 0
        self.records: dict[Key, Movement] = {}
        self.movements: list[Movement] = []
        self.from_providers: list[Movement] = []  # pull stream HS
        self.from_citizens: list[Movement] = []  # pull stream IYS
        self.saved_singles: dict[bytes, Movement] = {}  # V2: digest of body and parameters
        self.saved_items: dict[Consent, Movement] = {}  # V2: items of batches

    @property
    def approvals(self) -> int:
        """How many records stand at ONAY."""
        return self._approvals

    @property
    def size(self) -> int:
        """How many records there are."""
        return len(self.records)

    @property
    def used_limit(self) -> int:
        """How many different addresses are registered (usedConsentLimit)."""
        return len(self._addresses)

    def is_full(self, brand: Brand) -> bool:
        """Whether no further address may be registered (H525)."""
        return brand.consent_limit is not None and self.used_limit >= brand.consent_limit

    def knows_address(self, recipient: str) -> bool:
        """Whether the address has a record of any type."""
        return recipient in self._addresses

    def count_of(self, key: Key) -> int:
        """How many movements of the key were accepted."""
        return self._counts.get(key, 0)

    def find(self, key: Key) -> Movement | None:
        """Give the current record of the key."""
        return self.records.get(key)

    def history_of(self, key: Key) -> list[Movement]:
        """Give all movements of the key, in order."""
        return [movement for movement in self.movements if movement.key == key]

    def between(self, start: int, end: int) -> Iterator[Movement]:
        """Give the movements created from `start` to before `end` (epoch seconds), in order."""
        first = bisect_left(self.movements, start, key=lambda movement: movement.second)
        for movement in itertools.islice(self.movements, first, None):
            if movement.second >= end:
                return
            yield movement

    def access_of(self, key: Key) -> list[int]:
        """Give the retailers that may use the key's consent, the one that took it included."""
        record = self.records.get(key)
        if record is None:
            return []
        taker = () if record.retailer_code is None else (record.retailer_code,)
        return sorted({*taker, *record.retailer_access})

    def access_count(self, retailer: int) -> int:
        """How many consents the retailer may use."""
        return sum(retailer in self.access_of(key) for key in self.records)

    def change_access(
        self,
        key: Key,
        *,
        added: tuple[int, ...] = (),
        removed: tuple[int, ...] = (),
        removes_all: bool = False,
    ) -> None:
        """Change which retailers may use the key's consent; nothing where there is no record."""
        record = self.records.get(key)
        if record is None:
            return
        kept = set() if removes_all else {*record.retailer_access} - set(removed)
        taker = None if removes_all or record.retailer_code in removed else record.retailer_code
        access = tuple(sorted({*kept, *added}))
        self.records[key] = replace(record, retailer_code=taker, retailer_access=access)

    def save(
        self,
        consent: Consent,
        *,
        second: int,
        occurred_at: int,
        origin: Origin,
        citizen_name: str = "",
    ) -> Movement:
        """Accept `consent` as it is: the movement becomes the record of its key."""
        key = consent.key
        before = self.records.get(key)
        movement = Movement(
            type=consent.type,
            recipient_type=consent.recipient_type,
            recipient=consent.recipient,
            status=consent.status,
            source=consent.source,
            consent_date=consent.consent_date,
            retailer_code=consent.retailer_code,
            retailer_access=consent.retailer_access,
            second=second,
            brand_code=self._brand_code,
            origin=origin,
            occurred_at=occurred_at,
            sequence=len(self.movements) + 1,
            citizen_name=citizen_name,
            is_change=before is None or before.status != consent.status,
        )
        self._approvals += (consent.status == "ONAY") - (
            before is not None and before.status == "ONAY"
        )
        self.records[key] = movement
        self._counts[key] = self._counts.get(key, 0) + 1
        self._addresses.add(consent.recipient)
        self.movements.append(movement)
        stream = self.from_citizens if origin.path is Path.CITIZEN else self.from_providers
        stream.append(movement)
        return movement

    def rows(self) -> Iterator[tuple[Movement, int]]:
        """Give the current record of each key with its number of movements (a snapshot)."""
        for movement in list(self.records.values()):
            yield movement, self.count_of(movement.key)
