"""A client of the schema registry: ids of the schemas we write, schemas of the ids we read.

Any registry with Confluent's API will do. A schema is registered under the name of its record
(RecordNameStrategy), for one record travels on several topics, and as ``<topic>-value`` of each of
them (TopicNameStrategy), where most converters and tools look. Its id is the same under every
subject, and all subjects are FULL_TRANSITIVE.
"""

import json
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from izin.runtime.errors import RegistryError
from izin.schemas import contracts
from izin.schemas.topics import Topics

_LOGIN_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_TIMEOUT = 15.0
_RETRIES = 2
"""How often a connection that cannot be opened is tried again."""


class RegistryClient:
    """A client of the registry. Every method raises RegistryError."""

    def __init__(
        self,
        url: str,
        topics: Topics,
        *,
        login: tuple[str, str] | None = None,
        ca_file: Path | None = None,
    ) -> None:
        """Use the registry at ``url``, as the user and with the password of ``login``; trust the
        authorities in ``ca_file``, else the public ones. Schemas are registered for ``topics``.
        """
        self._topics = topics
        self._url = url.rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise RegistryError(
                f"{url} is not the URL of a schema registry; "
                "set SCHEMA_REGISTRY_URL to one such as http://127.0.0.1:8080/apis/ccompat/v7"
            )
        verify = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._client = httpx.Client(
            auth=login,
            timeout=_TIMEOUT,
            transport=httpx.HTTPTransport(verify=verify, retries=_RETRIES),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def id_of(self, contract: contracts.Contract) -> int:
        """Register ``contract`` under each of its subjects where it is new, and return its id."""
        for topic in self._topics:
            if topic.record == contract.record:
                self._register(f"{topic.name}-value", contract)
        return self._register(f"izin.{contract.record}", contract)

    def _register(self, subject: str, contract: contracts.Contract) -> int:
        schema = {"schemaType": "AVRO", "schema": json.dumps(contract.schema)}
        registered = self._read(self._send("POST", f"/subjects/{subject}/versions", schema))
        wanted = {"compatibility": "FULL_TRANSITIVE"}
        self._read(self._send("PUT", f"/config/{subject}", wanted))
        return int(registered["id"])

    def schema_of(self, schema_id: int) -> contracts.Schema | None:
        """Return the schema that ``schema_id`` names; None if the registry has no such id."""
        response = self._send("GET", f"/schemas/ids/{schema_id}")
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        found: contracts.Schema = json.loads(self._read(response).get("schema") or "null")
        return found

    def _send(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, f"{self._url}{path}", json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RegistryError(
                f"schema registry at {self._url} is out of reach: {error}; "
                "are SCHEMA_REGISTRY_URL and SCHEMA_REGISTRY_SSL_CA_FILE right?"
            ) from error

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        try:
            found = response.json()
        except ValueError:
            found = None
        if response.is_success and isinstance(found, dict):
            return found
        said = found.get("message") if isinstance(found, dict) else None
        raise RegistryError(
            f"schema registry at {self._url} answered {response.status_code} to "
            f"{response.request.method} {response.request.url.path}: "
            f"{said or response.reason_phrase}; {_remedy(response.status_code)}"
        )


def _remedy(status: int) -> str:
    """Return the question that leads to the setting at fault."""
    if status in _LOGIN_REFUSED:
        return "are SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD right?"
    return "is SCHEMA_REGISTRY_URL right, and is the schema compatible with its history?"
