"""Who may call and for what: API accounts, subscriptions of service providers, brands with rights.

An account belongs to one service provider (`iysCode`); a path naming another one, or a brand of
another one, is refused with H353. A subscription refuses by its state: CLOSED everything (H521),
PAUSED and EXPIRED all but its own query (H520), none at all (H524), without API in its package
(H586).
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from izin.simulator.answers import RefusedError, refused
from izin.simulator.texts import FORBIDDEN_MISSPELT, REFUSALS

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
    """An API user of one service provider."""

    username: str
    password: str = field(repr=False)
    iys_code: int
    role: str = "API_USER"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """A service provider's subscription."""

    iys_code: int
    state: SubscriptionState = SubscriptionState.ACTIVE
    includes_api: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Brand:
    """A brand. Texts are wire texts (Turkish time); the three-day rule starts at `activated_at`.

    `consent_limit` is the number of addresses that may be registered, `None` for no limit.
    """

    code: int
    iys_code: int
    name: str
    activated_at: str | None = None
    consent_limit: int | None = None
    rights: dict[str, Right] = field(default_factory=lambda: dict.fromkeys(CHANNELS, Right.WRITE))
    retailers: frozenset[int] = frozenset()

    def may_write(self, channel: str) -> bool:
        """Whether consents of this type may be added."""
        return self.rights.get(channel) is Right.WRITE

    def may_read(self, channel: str) -> bool:
        """Whether consents of this type may be read."""
        return channel in self.rights

    def is_activated(self, now: str) -> bool:
        """Whether the three-day rule (H467) applies at `now` (wire text)."""
        return self.activated_at is not None and self.activated_at <= now


class Directory:
    """All accounts, subscriptions and brands."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.brands: dict[int, Brand] = {}
        self.subscriptions: dict[int, Subscription] = {}

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

    def account_with(self, username: str, password: str) -> Account | None:
        """Give the account with these credentials, if there is one."""
        account = self.accounts.get(username)
        if account and secrets.compare_digest(account.password.encode(), password.encode()):
            return account
        return None

    def check_subscription(self, iys_code: int, *, is_subscription_query: bool) -> None:
        """Raise the refusal the subscription's state asks for (H520, H521, H524, H437, H586)."""
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
                    text = REFUSALS["H520"].message.format(state=state.value)
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


def check_rights(brand: Brand, channels: Iterable[object], *, to_write: bool) -> None:
    """Raise H353 on `type` where a right for one of `channels` is missing.

    İYS does not document which field it names then; `type` is the twin's choice.
    """
    allowed = brand.may_write if to_write else brand.may_read
    for channel in set(channels):
        if isinstance(channel, str) and channel in CHANNELS and not allowed(channel):
            raise forbidden("type")
