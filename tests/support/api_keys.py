"""API keys for tests: obviously fake, and valid unless a test overrides a field."""

from collections.abc import Mapping
from typing import Any

from izin.kafka.tables.api_keys import ApiKeyDirectory
from izin.runtime.kafka import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope, new_api_key
from izin.schemas.codec import Codec
from tests.support.builders import CUSTOMER, NOON

KEY_ID = "0a1b2c3d4e5f-1"
API_KEY, SECRET_HASH = new_api_key(KEY_ID, bytes)
"""A key whose random part is all zeros."""
AUTHORIZATION: Mapping[str, str] = {"Authorization": f"Bearer {API_KEY}"}


def an_api_key(**overrides: object) -> ApiKey:
    """Return the record of ``API_KEY``, which may publish for the customer of `an_event`."""
    fields: dict[str, Any] = {
        "id": KEY_ID,
        "name": "shop",
        "secret_hash": SECRET_HASH,
        "scopes": frozenset({Scope.PUBLISH.value}),
        "customers": frozenset({CUSTOMER}),
        "created_at": NOON,
    }
    return ApiKey(**fields | overrides)


def a_second_key(**overrides: object) -> tuple[str, ApiKey]:
    """Return another key with its record, of the name ``crm``."""
    text, secret_hash = new_api_key("a1a1a1a1a1a1-1", lambda count: b"\1" * count)
    fields: dict[str, Any] = {"id": "a1a1a1a1a1a1-1", "name": "crm", "secret_hash": secret_hash}
    return text, an_api_key(**fields | overrides)


def known(*keys: ApiKey, age: float | None = 0.0) -> ApiKeyDirectory:
    """Return a directory of ``keys``, last seen complete ``age`` seconds ago."""
    return ApiKeyDirectory(keys, age=lambda: age)


def check_refusal(scope: Scope | None, needed: Scope, answer: tuple[int, str, str]) -> None:
    """Check the status, media type and body of an ``answer`` to who has no key, or whose key has
    ``scope`` alone where another is ``needed``.
    """
    status, media_type, body = answer
    assert (status, media_type) == (401 if scope is None else 403, "application/problem+json")
    assert scope is None or f"lacks the scope {needed}" in body
    assert API_KEY not in body


def publish_key(settings: KafkaSettings, key: ApiKey) -> None:
    """Publish the record of ``key`` as the sinks do."""
    client = producer(settings)
    client.produce(
        settings.topics.api_keys.name,
        key=key.id.encode(),
        value=Codec().encode("ApiKey", key.to_avro()),
    )
    assert client.flush(20) == 0
