"""A real schema registry with Confluent's API.

A schema registry behind TLS and a login.
"""

import json
from collections.abc import Iterator

import httpx
import pytest

from izin.kafka.clients import codec
from izin.local import ApicurioRegistry
from izin.runtime.errors import RegistryError
from izin.runtime.settings import KafkaSettings
from tests.support.secure import Authority, RegistryProxy, running
from tools.golden_records import golden

pytestmark = pytest.mark.broker


def test_registry_refuses_an_incompatible_schema(registry: ApicurioRegistry) -> None:
    """Register, read back by id, and refuse what does not fit the history."""
    number = {"type": "record", "name": "Consent", "fields": [{"name": "brand", "type": "int"}]}
    text = {"type": "record", "name": "Consent", "fields": [{"name": "brand", "type": "string"}]}
    subject = "/subjects/consents-value/versions"
    with httpx.Client(base_url=registry.url) as client:
        saved = client.post(subject, json={"schema": json.dumps(number)}).json()["id"]
        found = client.get(f"/schemas/ids/{saved}").json()["schema"]
        client.put("/config/consents-value", json={"compatibility": "FULL_TRANSITIVE"})
        refused = client.post(subject, json={"schema": json.dumps(text)})
    assert json.loads(found) == number
    assert refused.status_code == httpx.codes.CONFLICT


def test_registry_killed_keeps_its_schemas_and_ids(registry: ApicurioRegistry) -> None:
    """Records in Kafka name schemas by the registry's ids, which a crash must not change; it is
    started again where it was, as others of this run know it.
    """
    schemas = [json.dumps({"type": "string", "n": number}) for number in range(3)]
    with httpx.Client(base_url=registry.url) as client:
        saved = {
            text: client.post(f"/subjects/s{at}/versions", json={"schema": text}).json()["id"]
            for at, text in enumerate(schemas)
        }
    registry.kill()
    registry.start()
    with httpx.Client(base_url=registry.url) as client:
        for text, number in saved.items():
            found = client.get(f"/schemas/ids/{number}").json()["schema"]
            assert json.loads(found) == json.loads(text)


SECRET = "obviously-fake: secret"


@pytest.fixture(scope="module")
def proxy(registry: ApicurioRegistry, authority: Authority) -> Iterator[RegistryProxy]:
    """Yield a real registry's proxy."""
    proxy = RegistryProxy(registry.url, authority.issue("registry"), f"izin:{SECRET}")
    with running(proxy):
        yield proxy


@pytest.fixture
def given(proxy: RegistryProxy, authority: Authority) -> dict[str, str]:
    """Return the settings that are right."""
    return {
        "SCHEMA_REGISTRY_URL": f"{proxy.url}{proxy.upstream.path}",
        "SCHEMA_REGISTRY_USERNAME": "izin",
        "SCHEMA_REGISTRY_PASSWORD": SECRET,
        "SCHEMA_REGISTRY_SSL_CA_FILE": str(authority.file),
    }


def encoded(given: dict[str, str]) -> bytes:
    """Return a record as it is framed with the registry of ``given``."""
    return codec(KafkaSettings.model_validate(given)).encode("Brand", golden("Brand"))


def test_codec_uses_the_registry(proxy: RegistryProxy, given: dict[str, str]) -> None:
    """It registers schemas there and reads them back."""
    proxy.statuses.clear()
    value = encoded(given)
    assert value[0] == 0
    assert codec(KafkaSettings.model_validate(given)).decode("Brand", value) == golden("Brand")
    assert 401 not in proxy.statuses


def test_wrong_login_is_a_clear_error(given: dict[str, str]) -> None:
    """It names the settings, and no secret."""
    with pytest.raises(RegistryError, match="SCHEMA_REGISTRY_PASSWORD") as refused:
        encoded({**given, "SCHEMA_REGISTRY_PASSWORD": "another-fake"})
    assert "another-fake" not in str(refused.value)
    assert given["SCHEMA_REGISTRY_URL"] in str(refused.value)


def test_unknown_authority_is_a_clear_error(given: dict[str, str], stranger: Authority) -> None:
    """The registry's certificate is another's."""
    with pytest.raises(RegistryError, match="SCHEMA_REGISTRY_SSL_CA_FILE") as refused:
        encoded({**given, "SCHEMA_REGISTRY_SSL_CA_FILE": str(stranger.file)})
    assert "certificate verify failed" in str(refused.value)
