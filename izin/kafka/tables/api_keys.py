"""API keys at the endpoints: known from the compacted topic ``api-keys``, decided on purely, and
checked over HTTP before a body is read.

Who may write the topic decides who has access. A revocation is a record of the key; once it was
read, no other record makes the key valid again. A record that cannot be read removes its key, for
it may be a revocation.

Before the first read of the topic nobody is refused for good, for no key is known. Where the keys
were not seen complete for a minute, a revocation may be missing: whoever asks, subscribes or
operates waits. Publishing goes on with the keys that are known, for an opt-out must not be refused
because this endpoint is cut off from the topic.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from hmac import compare_digest

from starlette.requests import Request

from izin.kafka.clients import access_of
from izin.kafka.follower import TopicFollower
from izin.runtime.http_server.problems import NO_HEADERS, ProblemText
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope, presented
from izin.schemas.codec import Codec
from izin.schemas.records import AvroRecord

STALE_AFTER = timedelta(seconds=60)
"""After so long without having seen the end of the topic, revocations may be missing."""
_NO_HASH = bytes(32)
_RETRY_AFTER = 5


class Freshness(StrEnum):
    """How well the keys are known."""

    NOT_READ = "not-read"
    """The topic was not yet read to its end."""
    STALE = "stale"
    """Its end was last seen longer ago than ``STALE_AFTER``."""
    FRESH = "fresh"


class Outside(StrEnum):
    """What of a record is outside a key, by the name of the field."""

    BRAND = "brand_code"
    """The brand, or its customer."""
    CHANNEL = "type"


def freshness_of(age: float | None) -> Freshness:
    """Return how well the keys are known that were last seen complete ``age`` seconds ago."""
    if age is None:
        return Freshness.NOT_READ
    return Freshness.STALE if age > STALE_AFTER.total_seconds() else Freshness.FRESH


_NOT_READ = ProblemText(
    503, "Starting", "the API keys are not read yet; send this again", _RETRY_AFTER
)
_UNKNOWN = ProblemText(
    401,
    "Not authorised",
    "send an API key that is valid: Authorization: Bearer izin_…; an operator makes one with izin "
    "keys create",
)
"""There is no such key, or not any more; which of them is not said."""


def _forbidden(scope: Scope) -> ProblemText:
    detail = f"this key lacks the scope {scope}; use one that has it"
    return ProblemText(403, "Not permitted", detail)


def _stale(scope: Scope) -> ProblemText:
    """Return what is said where the key may have been revoked meanwhile."""
    return ProblemText(
        503,
        "Keys not up to date",
        f"the end of the topic of API keys was not seen for {STALE_AFTER.total_seconds():.0f} s, "
        f"so {scope} waits; send this again",
        _RETRY_AFTER,
    )


def decide(
    scope: Scope,
    freshness: Freshness,
    key: ApiKey | None,
    now: datetime,
    other: Scope | None = None,
) -> ApiKey | ProblemText:
    """Return ``key`` where it may do what needs ``scope``, or an ``other``, else why not; None: no
    key is known.
    """
    if freshness is Freshness.NOT_READ:
        return _NOT_READ
    if key is None or not key.is_valid(now):
        return _UNKNOWN
    if key.scopes.isdisjoint({scope, other}):
        return _forbidden(scope)
    if freshness is Freshness.STALE and scope is not Scope.PUBLISH:
        return _stale(scope)
    return key


def outside(key: ApiKey, *, customer_id: str, brand_code: int, channel: str) -> Outside | None:
    """Return what of a record is outside ``key``; None: nothing."""
    if customer_id not in key.customers or (key.brands and brand_code not in key.brands):
        return Outside.BRAND
    if key.channels and channel not in key.channels:
        return Outside.CHANNEL
    return None


class ApiKeyDirectory:
    """The keys known now, by id. Written by one thread, read by any.

    ``age`` says for how many seconds they were not seen complete; None: they never were.
    """

    def __init__(
        self, keys: Iterable[ApiKey] = (), *, age: Callable[[], float | None] = lambda: 0.0
    ) -> None:
        self._keys = {key.id: key for key in keys}
        self.age = age

    @property
    def freshness(self) -> Freshness:
        """How well the keys are known."""
        return freshness_of(self.age())

    def faults(self) -> Mapping[str, str]:
        """Return why an endpoint is not ready: its keys were not read yet. Stale, it goes on."""
        return {"api keys": "not read yet"} if self.freshness is Freshness.NOT_READ else {}

    def find(self, text: str) -> ApiKey | None:
        """Return the key that a client presents as ``text``; None where there is no such key.

        Whatever is wrong with it, one comparison is made, and it takes as long.
        """
        given = presented(text)
        key = None if given is None else self._keys.get(given.id)
        is_same = compare_digest(
            _NO_HASH if key is None else key.secret_hash,
            _NO_HASH if given is None else given.secret_hash,
        )
        return key if is_same else None

    def put(self, record: AvroRecord) -> None:
        """Add or replace the key of ``record``; a revoked one stays revoked."""
        key = ApiKey.of(record)
        known = self._keys.get(key.id)
        if known is None or known.revoked_at is None or key.revoked_at is not None:
            self._keys[key.id] = key

    def remove(self, key: bytes) -> None:
        """Remove a key."""
        self._keys.pop(key.decode("utf-8", "replace"), None)

    def unreadable(self, key: bytes) -> None:
        """Remove the key whose record cannot be read."""
        self.remove(key)

    def __len__(self) -> int:
        return len(self._keys)


class ApiKeyReader:
    """Follows the topic ``api-keys``."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self.directory = ApiKeyDirectory()
        self._follower = TopicFollower(
            access_of(settings), codec, settings.topics.api_keys, self.directory
        )
        self.directory.age = self._follower.age

    @contextmanager
    def follow(self) -> Iterator[ApiKeyDirectory]:
        """Yield the directory, which is read from now on, until the context ends.

        Raises:
            BrokerError: the topic does not exist, or Kafka cannot be reached.
        """
        with self._follower.follow(complete=False):
            yield self.directory


def authorised(
    request: Request,
    directory: ApiKeyDirectory,
    scope: Scope,
    *,
    now: datetime,
    other: Scope | None = None,
) -> ApiKey:
    """Return the key of ``request``, which has ``scope``, or an ``other``.

    Raises:
        RequestRefusedError: 401 without a key that is valid now, 403 where it lacks the scope, 503
            while the keys are not known, or not well enough for this scope.
    """
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    key = directory.find(text.strip() if scheme.lower() == "bearer" else "")
    decided = decide(scope, directory.freshness, key, now, other)
    if isinstance(decided, ApiKey):
        return decided
    raise decided.error(
        headers={"WWW-Authenticate": "Bearer"} if decided is _UNKNOWN else NO_HEADERS
    )


def refusals(scope: Scope) -> tuple[ProblemText, ...]:
    """Return how requests that need ``scope`` may be refused."""
    stale = [] if scope is Scope.PUBLISH else [_stale(scope)]
    return (_NOT_READ, _UNKNOWN, _forbidden(scope), *stale)
