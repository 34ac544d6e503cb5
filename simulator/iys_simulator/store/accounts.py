"""API accounts, subscriptions of service providers, and brands with their rights.

An account belongs to one service provider (`iysCode`) or to one business partner
(`integratorCode`). What they may call is decided in `gateway.permissions`.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from iys_simulator.rules.consent import CHANNELS
from iys_simulator.store.database import Database
from iys_simulator.store.documents import DocumentMap


class SubscriptionState(StrEnum):
    """States of a service provider's subscription; `NONE` where there is no subscription."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    EXPIRED = "EXPIRED"
    CLOSED = "CLOSED"
    NONE = "NONE"


class Right(StrEnum):
    """What an account may do with one type of a brand; an absent right means none."""

    WRITE = "write"
    READ = "read"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """An API user of one service provider, or of the business partner `iys_code`."""

    username: str
    password: str = field(repr=False)
    iys_code: int
    role: str = "API_USER"
    is_integrator: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """A service provider's or a partner's subscription; credits only where ViA was bought."""

    iys_code: int
    state: SubscriptionState = SubscriptionState.ACTIVE
    includes_api: bool = True
    via_credit: int | None = None
    via_pass_credit: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a service provider allows one business partner to do with one brand."""

    integrator_code: int
    rights: Mapping[str, Right]
    agreement_control: bool = True
    via_control: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Brand:
    """A brand.

    `activated_at` is a wire text (Turkish time); the three-day rule (H467) applies from then on.
    `consent_limit` is the number of recipients that may be registered, None for no limit; `rights`
    are those of the provider's own accounts; `retailers` are codes without further data.
    """

    code: int
    iys_code: int
    name: str
    activated_at: str | None = None
    consent_limit: int | None = None
    rights: Mapping[str, Right] = field(
        default_factory=lambda: dict.fromkeys(CHANNELS, Right.WRITE)
    )
    retailers: frozenset[int] = frozenset()
    title: str = ""
    grants: tuple[Grant, ...] = ()

    def may_write(self, channel: str) -> bool:
        """Return whether consents of this type may be added."""
        return self.rights.get(channel) is Right.WRITE

    def may_read(self, channel: str) -> bool:
        """Return whether consents of this type may be read."""
        return channel in self.rights

    def grant_to(self, integrator_code: int) -> Grant | None:
        """Return what the partner may do with this brand, if anything."""
        return next((one for one in self.grants if one.integrator_code == integrator_code), None)


class Directory:
    """All accounts by username, subscriptions by iysCode, and brands by code."""

    def __init__(self, database: Database) -> None:
        self.accounts = DocumentMap(database, "account", str, Account)
        self.brands = DocumentMap(database, "brand", int, Brand)
        self.subscriptions = DocumentMap(database, "subscription", int, Subscription)

    def add_account(self, account: Account, subscription: Subscription) -> None:
        """Add or replace an account and the subscription of its service provider."""
        self.accounts[account.username] = account
        self.subscriptions[account.iys_code] = subscription

    def add_brand(self, brand: Brand) -> None:
        """Add or replace a brand."""
        self.brands[brand.code] = brand

    def clear(self) -> None:
        """Delete all accounts, subscriptions and brands."""
        self.accounts.clear()
        self.brands.clear()
        self.subscriptions.clear()

    def brands_of(self, iys_code: int) -> list[Brand]:
        """Return the brands of a service provider in the order they were added."""
        return [brand for brand in self.brands.values() if brand.iys_code == iys_code]

    def may_see(self, account: Account, iys_code: int) -> bool:
        """Return whether the account is the provider's, or a partner with a grant of it."""
        if not account.is_integrator:
            return account.iys_code == iys_code
        return any(brand.grant_to(account.iys_code) for brand in self.brands_of(iys_code))

    def brand_for(self, account: Account, iys_code: int, brand_code: int) -> Brand | None:
        """Return the provider's brand with the rights of `account`; None if it has no access."""
        brand = self.brands.get(brand_code)
        if brand is None or brand.iys_code != iys_code:
            return None
        if not account.is_integrator:
            return brand
        grant = brand.grant_to(account.iys_code)
        return replace(brand, rights=grant.rights) if grant else None

    def granted_brands(self, integrator_code: int) -> list[tuple[Brand, Grant]]:
        """Return every brand granted to a partner, with the grant."""
        grants = ((brand, brand.grant_to(integrator_code)) for brand in self.brands.values())
        return [(brand, grant) for brand, grant in grants if grant]

    def is_master(self, brand: Brand) -> bool:
        """Return whether the brand is its provider's main one: the first one added."""
        return self.brands_of(brand.iys_code)[0].code == brand.code

    def account_with(self, username: str, password: str) -> Account | None:
        """Return the account with these credentials, if there is one."""
        account = self.accounts.get(username)
        if account and secrets.compare_digest(account.password.encode(), password.encode()):
            return account
        return None
