"""The codec of an installation, with a schema registry where it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from izin.consent.errors import OurError
from izin.schemas.codec import Codec
from izin.schemas.contracts import versions

if TYPE_CHECKING:
    from izin.runtime.settings import KafkaSettings


class RegistryError(OurError):
    """The registry cannot be reached, or refuses a schema of ours."""


def codec(settings: KafkaSettings) -> Codec:
    """Return the codec of this installation: Confluent framing where a registry is set, else Avro's
    own. Raises UnusableSchemaError and RegistryError.
    """
    folder = settings.schema_folder
    others = {} if folder is None else versions(folder)
    if not settings.registry_url:
        return Codec(others=others)
    # It brings an HTTP library and OAuth: a fifth of a second, for those who have a registry.
    from izin.runtime.registry_client import Registry  # noqa: PLC0415 - see above

    return Codec(Registry(settings.registry_url), others=others)
