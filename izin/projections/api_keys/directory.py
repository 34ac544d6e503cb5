"""The API keys that an endpoint knows, from the compacted topic ``api-keys``.

Who may write the topic decides who has access. A revocation is a record of the key; once it was
read, no other record makes the key valid again. A record that cannot be read removes its key, for
it may be a revocation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hmac import compare_digest

from izin.kafka.follower import TopicFollower
from izin.projections.api_keys.access import Freshness, freshness_of
from izin.runtime.kafka import connection_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey, presented
from izin.schemas.codec import Codec
from izin.schemas.records import AvroRecord

_NO_HASH = bytes(32)


class ApiKeyDirectory:
    """The keys known now, by id. Written by one thread, read by any.

    ``age`` says for how many seconds they were not seen complete; None: they never were.
    """

    def __init__(
        self, keys: Iterable[ApiKey] = (), *, age: Callable[[], float | None] = lambda: 0.0
    ) -> None:
        self._keys = {one.id: one for one in keys}
        self._age = age

    @property
    def freshness(self) -> Freshness:
        """How well the keys are known."""
        return freshness_of(self._age())

    def faults(self) -> Mapping[str, str]:
        """Return why an endpoint is not ready: its keys were not read yet. Stale, it goes on."""
        is_read = self.freshness is not Freshness.NOT_READ
        return {} if is_read else {"api keys": "not read yet"}

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
        self.directory = ApiKeyDirectory(age=self._age)
        self._follower = TopicFollower(
            connection_of(settings), codec, settings.topics.api_keys, self.directory
        )

    def _age(self) -> float | None:
        return self._follower.age()

    @contextmanager
    def follow(self) -> Iterator[ApiKeyDirectory]:
        """Yield the directory, which is read from now on, until the context ends.

        Raises:
            BrokerError: the topic does not exist, or Kafka cannot be reached.
        """
        with self._follower.follow(complete=False):
            yield self.directory
