"""API keys: ``izin_<id>_<secret>``, and the record of a key that its topic carries.

The id names the key and is looked up; the secret is 32 random bytes in base64url, and only its
SHA-256 is stored. A fast hash is enough, for nobody can guess 256 random bits. The id is a family
of twelve hexadecimal digits and a number: a key that replaces another has the next number.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from izin.consent import Channel
from izin.schemas.records import AvroRecord

SECRET_BYTES = 32
FAMILY_BYTES = 6

_ID = r"[0-9a-f]{12}-[1-9][0-9]{0,5}"
_TEXT = re.compile(rf"izin_({_ID})_([A-Za-z0-9_-]{{43}})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Chance = Callable[[int], bytes]
"""Returns so many random bytes."""


class Scope(StrEnum):
    """What a key may do."""

    PUBLISH = "publish"
    """Publish events."""
    TEST = "test"
    """Try to publish: all is validated and answered as it would be, and nothing is published."""
    SUBSCRIBE = "subscribe"
    """Receive opt-outs, permissions and outcomes."""
    ASK = "ask"
    """Ask whether a message may be sent."""
    OPERATE = "operate"
    """Operate an installation."""


class PresentedKey(NamedTuple):
    """A key as a client presents it: its id, and the hash of its secret part."""

    id: str
    secret_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, without its secret. Instants are aware."""

    id: str
    name: str
    secret_hash: bytes
    scopes: frozenset[str]
    """Of ``Scope``; a word that a newer release knows permits nothing here."""
    customers: frozenset[str]
    brands: frozenset[int] = frozenset()
    """Empty: every brand of the customers."""
    channels: frozenset[str] = frozenset()
    """Empty: every channel."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def customer_id(self) -> str:
        """Its customer where it has one alone, else empty."""
        return next(iter(self.customers)) if len(self.customers) == 1 else ""

    def without(self, customer_id: str, brands: Collection[int]) -> Self | None:
        """Return the key without a customer and its ``brands``; None: it could do nothing then.

        A key of that customer's brands alone is none of the others': without any brand it would be
        for all of theirs.
        """
        customers, left = self.customers - {customer_id}, self.brands.difference(brands)
        if not customers or (self.brands and not left):
            return None
        return replace(self, customers=customers, brands=left)

    @property
    def next_id(self) -> str:
        """The id of the key that replaces this one."""
        family, _, number = self.id.partition("-")
        return f"{family}-{int(number) + 1}"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the key of an Avro ApiKey, or of a row with the same columns."""
        lists = {name: frozenset(record[name]) for name in _LISTS}
        return cls(**{**record, **lists, "secret_hash": bytes(record["secret_hash"])})

    def to_avro(self) -> AvroRecord:
        """Return this key as an Avro ApiKey."""
        return {
            "id": self.id,
            "name": self.name,
            "secret_hash": self.secret_hash,
            "scopes": in_order(self.scopes, Scope),
            "customers": sorted(self.customers),
            "brands": sorted(self.brands),
            "channels": in_order(self.channels, Channel),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
        }


_LISTS = ("scopes", "customers", "brands", "channels")


def in_order(words: frozenset[str], known: type[StrEnum]) -> list[str]:
    """Return ``words`` in the order of ``known``, and behind them those that it lacks."""
    return [*(str(one) for one in known if one in words), *sorted(words - frozenset(known))]


def is_key_id(text: str) -> bool:
    """Whether ``text`` has the form of a key's id."""
    return re.fullmatch(_ID, text) is not None


def is_key_name(text: str) -> bool:
    """Whether a key may be called ``text``."""
    return _NAME.fullmatch(text) is not None


def new_family(chance: Chance) -> str:
    """Return the id of the first key of a new family."""
    return f"{chance(FAMILY_BYTES).hex()}-1"


def new_api_key(key_id: str, chance: Chance) -> tuple[str, bytes]:
    """Return a new key with this id, as its holder has it, and the hash of its secret part."""
    secret = base64.urlsafe_b64encode(chance(SECRET_BYTES)).rstrip(b"=").decode()
    return f"izin_{key_id}_{secret}", _hash_of(secret)


def presented(text: str) -> PresentedKey | None:
    """Return id and hash of a key as a client presents it; None where it is not one."""
    found = _TEXT.fullmatch(text)
    return None if found is None else PresentedKey(found[1], _hash_of(found[2]))


def _hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
