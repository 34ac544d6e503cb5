"""Who may call and for what: API accounts, subscriptions of service providers, brands with rights.

An account belongs to one service provider (`iysCode`) or to one business partner
(`integratorCode`); a path naming another one, or a brand that is not its own or not granted to it,
is refused with H353. A subscription refuses by its state: CLOSED everything (H521), PAUSED and
EXPIRED all but its own query (H520), none at all (H524), without API in its package (H586).
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from iys_simulator.errors.messages import FORBIDDEN_MISSPELT, REFUSALS
from iys_simulator.errors.responses import RefusedError, refused
from iys_simulator.store.database import Database
from iys_simulator.store.documents import Shelf

CHANNELS = ("ARAMA", "MESAJ", "EPOSTA")


class SubscriptionState(StrEnum):
    """States of a service provider's subscription; `NONE` where there is no subscription."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    EXPIRED = "EXPIRED"
    CLOSED = "CLOSED"
    NONE = "NONE"


class Right(StrEnum):
    """What an account may do with one type of a brand; a right that is absent is none at all."""

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
    """What a service provider lets one business partner do with one brand."""

    integrator_code: int
    rights: Mapping[str, Right]
    agreement_control: bool = True
    via_control: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Brand:
    """A brand. Texts are wire texts (Turkish time); the three-day rule starts at `activated_at`.

    `consent_limit` is the number of addresses that may be registered, `None` for no limit; `rights`
    are those of the provider's own accounts, `retailers` codes that exist without further data.
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
        """Whether consents of this type may be added."""
        return self.rights.get(channel) is Right.WRITE

    def may_read(self, channel: str) -> bool:
        """Whether consents of this type may be read."""
        return channel in self.rights

    def grant_to(self, integrator_code: int) -> Grant | None:
        """Give what the partner may do here, if anything."""
        return next((one for one in self.grants if one.integrator_code == integrator_code), None)

    def is_activated(self, now: str) -> bool:
        """Whether the three-day rule (H467) applies at `now` (wire text)."""
        return self.activated_at is not None and self.activated_at <= now


class Directory:
    """All accounts by username, subscriptions by iysCode, and brands by code."""

    def __init__(self, database: Database) -> None:
        self.accounts = Shelf(database, "account", str, Account)
        self.brands = Shelf(database, "brand", int, Brand)
        self.subscriptions = Shelf(database, "subscription", int, Subscription)

    def add_account(self, account: Account, subscription: Subscription) -> None:
        """Add or replace an account and the subscription of its service provider."""
        self.accounts[account.username] = account
        self.subscriptions[account.iys_code] = subscription

    def add_brand(self, brand: Brand) -> None:
        """Add or replace a brand."""
        self.brands[brand.code] = brand

    def clear(self) -> None:
        """Forget everybody."""
        self.accounts.clear()
        self.brands.clear()
        self.subscriptions.clear()

    def brands_of(self, iys_code: int) -> list[Brand]:
        """Give the brands of a service provider, the first one added first."""
        return [brand for brand in self.brands.values() if brand.iys_code == iys_code]

    def may_see(self, account: Account, iys_code: int) -> bool:
        """Whether the account is the provider's, or a partner with a grant of one of its brands."""
        if not account.is_integrator:
            return account.iys_code == iys_code
        return any(brand.grant_to(account.iys_code) for brand in self.brands_of(iys_code))

    def brand_for(self, account: Account, iys_code: int, brand_code: int) -> Brand | None:
        """Give the provider's brand with the rights `account` has in it; None if it has no part."""
        brand = self.brands.get(brand_code)
        if brand is None or brand.iys_code != iys_code:
            return None
        if not account.is_integrator:
            return brand
        grant = brand.grant_to(account.iys_code)
        return replace(brand, rights=grant.rights) if grant else None

    def granted_brands(self, integrator_code: int) -> list[tuple[Brand, Grant]]:
        """Give every brand granted to a partner, with the grant."""
        grants = ((brand, brand.grant_to(integrator_code)) for brand in self.brands.values())
        return [(brand, grant) for brand, grant in grants if grant]

    def is_master(self, brand: Brand) -> bool:
        """Whether the brand is its provider's main one: the first one added."""
        return self.brands_of(brand.iys_code)[0].code == brand.code

    def account_with(self, username: str, password: str) -> Account | None:
        """Give the account with these credentials, if there is one."""
        account = self.accounts.get(username)
        if account and secrets.compare_digest(account.password.encode(), password.encode()):
            return account
        return None

    def check_subscription(
        self, iys_code: int, *, is_subscription_query: bool, who: str = "HS"
    ) -> None:
        """Raise the refusal the subscription's state asks for (H520, H521, H524, H437, H586).

        `who` owns the subscription, in H520's words: HS or Entegratör.
        """
        subscription = self.subscriptions.get(iys_code)
        state = subscription.state if subscription else SubscriptionState.NONE
        match state:
            case SubscriptionState.NONE:
                code = "H437" if is_subscription_query else "H524"
                text = REFUSALS[code].message.format(iysCode=iys_code)
                raise refused(code, message=text)
            case SubscriptionState.CLOSED:
                raise refused("H521")
            case SubscriptionState.PAUSED | SubscriptionState.EXPIRED:
                if not is_subscription_query:
                    text = REFUSALS["H520"].message.format(state=state.value, who=who)
                    raise refused("H520", message=text)
            case SubscriptionState.ACTIVE:
                pass
        if subscription and not subscription.includes_api:
            raise refused("H586")


def forbidden(field_name: str, *, key: str = "code") -> RefusedError:
    """H353 on `field_name`; with `key="code:"` in the misspelt form of İYS's older methods."""
    if key == "code":
        text = REFUSALS["H353"].message.format(field=field_name)
        return refused("H353", message=text)
    text = FORBIDDEN_MISSPELT.format(field=field_name)
    return RefusedError(403, [{key: "H353", "message": text}])


def check_rights(brand: Brand, channels: Iterable[object], *, to_write: bool, named: str) -> None:
    """Raise H353 on the field `named` where a right for one of `channels` is missing."""
    allowed = brand.may_write if to_write else brand.may_read
    for channel in set(channels):
        if isinstance(channel, str) and channel in CHANNELS and not allowed(channel):
            raise forbidden(named)
