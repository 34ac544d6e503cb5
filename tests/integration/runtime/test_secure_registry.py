"""A schema registry behind TLS and a login."""

from collections.abc import Iterator

import pytest

from izin.kafka.clients import codec
from izin.local import ApicurioRegistry
from izin.runtime.errors import RegistryError
from izin.runtime.settings import KafkaSettings
from tests.contract.schemas.examples import golden
from tests.support.secure import Authority, RegistryProxy, running

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

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
