"""A client of the schema registry: ids of the schemas we write, schemas of the ids we read.

Any registry with Confluent's API will do. Subjects are named after the record
(RecordNameStrategy), for one record travels on several topics, and are FULL_TRANSITIVE.
"""

import json
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError

from izin.runtime.errors import RegistryError
from izin.schemas import contracts

_NOT_FOUND = 404
_LOGIN_REFUSED = frozenset({401, 403})
_TIMEOUT = 15.0


class RegistryClient:
    """A caching client of the registry; ids never change. Every method raises RegistryError."""

    def __init__(
        self, url: str, *, login: tuple[str, str] | None = None, ca_file: Path | None = None
    ) -> None:
        """Connect to ``url``, as the user and with the password of ``login``; trust the
        authorities in ``ca_file``, else the public ones.
        """
        self._url = url
        options: dict[str, Any] = {"url": url, "timeout": _TIMEOUT}
        if login is not None:
            options["basic.auth.user.info"] = ":".join(login)
        if ca_file is not None:
            options["ssl.ca.location"] = str(ca_file)
        try:
            self._client = SchemaRegistryClient(options)
        except ValueError as error:
            raise RegistryError(
                f"{url} is not the URL of a schema registry ({error}); "
                "set SCHEMA_REGISTRY_URL to one such as http://127.0.0.1:8080/apis/ccompat/v7"
            ) from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def id_of(self, contract: contracts.Contract) -> int:
        """Register ``contract`` if it is new, and return its id."""
        subject = f"izin.{contract.record}"
        try:
            schema_id: int = self._client.register_schema(
                subject, Schema(json.dumps(contract.schema), "AVRO")
            )
            self._client.set_config(
                subject, ServerConfig(compatibility=ConfigCompatibilityLevel.FULL_TRANSITIVE)
            )
        except Exception as error:  # the client lets its HTTP library's errors through
            raise RegistryError(
                f"schema registry at {self._url} refused {subject}: {error}; {_remedy(error)}"
            ) from error
        return schema_id

    def schema_of(self, schema_id: int) -> contracts.Schema | None:
        """Return the schema that ``schema_id`` names; None if the registry has no such id."""
        try:
            found: contracts.Schema = json.loads(
                self._client.get_schema(schema_id).schema_str or "null"
            )
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise RegistryError(
                f"schema registry at {self._url}: {error}; {_remedy(error)}"
            ) from error
        except Exception as error:  # the client lets its HTTP library's errors through
            raise RegistryError(
                f"schema registry at {self._url} is out of reach: {error}; {_remedy(error)}"
            ) from error
        return found


def _remedy(error: Exception) -> str:
    """Return the question that leads to the setting at fault."""
    if not isinstance(error, SchemaRegistryError):
        return "are SCHEMA_REGISTRY_URL and SCHEMA_REGISTRY_SSL_CA_FILE right?"
    if error.http_status_code in _LOGIN_REFUSED:
        return "are SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD right?"
    return "is SCHEMA_REGISTRY_URL right, and is the schema compatible with its history?"
