"""What the local stack runs: ports, delays of İYS, and two example brands."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from izin.schemas.api_keys import new_api_key, new_family
from izin.sinks.record.brand import Brand

ACTIVE = 100001
LOADING = 100002
CUSTOMER = "acme"

_LOADING_TIME = timedelta(days=30)

Part = Literal[
    "intake",
    "intake_operations",
    "feeds",
    "feeds_operations",
    "gate",
    "gate_operations",
    "sink",
    "sink_operations",
    "webhooks",
    "webhooks_operations",
    "order",
    "simulator",
]
"""A process of ours, or its listener for operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where each part listens on 127.0.0.1; None: any free port."""

    kafka: int | None = None
    postgres: int | None = None
    registry: int | None = None
    intake: int | None = None
    intake_operations: int | None = None
    feeds: int | None = None
    feeds_operations: int | None = None
    gate: int | None = None
    gate_operations: int | None = None
    sink: int | None = None
    sink_operations: int | None = None
    webhooks: int | None = None
    webhooks_operations: int | None = None
    order: int | None = None
    simulator: int | None = None

    def environment(self) -> dict[str, str]:
        """Return the settings of our processes that say where they listen."""
        return {
            "IZIN_SINK_PORT": str(self.sink),
            "IZIN_SINK_OPERATIONS_PORT": str(self.sink_operations),
            "IZIN_INTAKE_PORT": str(self.intake),
            "IZIN_INTAKE_OPERATIONS_PORT": str(self.intake_operations),
            "IZIN_FEEDS_PORT": str(self.feeds),
            "IZIN_FEEDS_OPERATIONS_PORT": str(self.feeds_operations),
            "IZIN_GATE_PORT": str(self.gate),
            "IZIN_GATE_OPERATIONS_PORT": str(self.gate_operations),
            "IZIN_WEBHOOK_PORT": str(self.webhooks),
            "IZIN_WEBHOOK_OPERATIONS_PORT": str(self.webhooks_operations),
            "IZIN_STREAM_PORT": str(self.order),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """İYS's delays, which the simulator and our sink both use."""

    result: timedelta = timedelta(seconds=2)
    hidden: timedelta = timedelta(seconds=2)
    pull: timedelta = timedelta(seconds=1)
    """How often we pull (ours, not İYS's)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleBrand:
    """A brand of the simulator and the ledger."""

    brand_code: int
    iys_code: int
    name: str
    activated_at: datetime | None
    """None: in first loading, which then has thirty days left."""
    push: bool
    """Whether İYS pushes what its citizens do; else we learn it by pull."""

    def in_ledger(self, now: datetime) -> Brand:
        """Return the brand as the ledger stores it."""
        return Brand(
            brand_code=self.brand_code,
            iys_code=self.iys_code,
            customer_id=CUSTOMER,
            name=self.name,
            activated_at=self.activated_at,
            loading_deadline=None if self.activated_at else now + _LOADING_TIME,
        )


def example_brands() -> tuple[ExampleBrand, ...]:
    """Return two brands: one long active that pushes, one in first loading that must be pulled."""
    return (
        ExampleBrand(
            brand_code=ACTIVE,
            iys_code=ACTIVE,
            name="Örnek Aktif",
            activated_at=datetime(2020, 1, 1, tzinfo=UTC),
            push=True,
        ),
        ExampleBrand(
            brand_code=LOADING, iys_code=ACTIVE, name="Örnek Yükleme", activated_at=None, push=False
        ),
    )


def _secret() -> str:
    return secrets.token_urlsafe(16)


def _long_secret() -> str:
    return secrets.token_urlsafe(32)


def _api_key() -> str:
    return new_api_key(new_family(secrets.token_bytes), secrets.token_bytes)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackCredentials:
    """Credentials of one run, known to its processes only."""

    username: str = "izin-local"
    password: str = field(default_factory=_secret, repr=False)
    push_password: str = field(default_factory=_secret, repr=False)
    suppression_secret: str = field(default_factory=_long_secret, repr=False)
    api_key: str = field(default_factory=_api_key, repr=False)
    """Of the intake, the feeds and the gate."""
