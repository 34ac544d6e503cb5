"""Push connections: an address, the movements it receives, and the deliveries sent to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """An address that receives the movements of one type of one brand."""

    brand_code: int
    iys_code: int
    url: str
    type: str
    username: str
    password: str = field(repr=False)

    @property
    def key(self) -> tuple[int, str, str]:
        """The key of a connection: brand, type, address."""
        return (self.brand_code, self.type, self.url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """A connection, whether it is active, and when it was registered (wire text)."""

    connection: Connection
    is_active: bool
    register_time: str


class DeliveryFailure(StrEnum):
    """Why an attempt has no HTTP status; only an unreachable address certainly got nothing."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryAttempt:
    """One attempt of a delivery; `result` is the HTTP status or a `DeliveryFailure`.

    `second` is in epoch seconds of the simulator's clock; `recipients` are those of its movements.
    """

    brand_code: int
    type: str
    url: str
    second: int
    recipients: Sequence[str]
    result: str
