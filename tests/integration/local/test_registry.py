"""A real schema registry with Confluent's API."""

import json

import httpx
import pytest

from izin.local import ApicurioRegistry

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


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
