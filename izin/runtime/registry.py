"""The codec of an installation, with a schema registry where one is configured."""

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.contracts import versions


def codec(settings: KafkaSettings) -> Codec:
    """Return the codec of this installation.

    It frames values as Confluent does where ``SCHEMA_REGISTRY_URL`` is set, and as Avro's
    single-object encoding otherwise.

    Raises:
        UnusableSchemaError: a schema in ``IZIN_SCHEMA_FOLDER`` cannot be used.
        RegistryError: ``SCHEMA_REGISTRY_URL`` is not a URL.
    """
    folder = settings.schema_folder
    others = {} if folder is None else versions(folder)
    if not settings.registry_url:
        return Codec(others=others)
    # It imports an HTTP library, 0.1 s that only users of a registry should pay.
    from izin.runtime.registry_client import RegistryClient  # noqa: PLC0415 - see above

    username, password = settings.registry_username, settings.registry_password
    client = RegistryClient(
        settings.registry_url,
        settings.topics,
        login=(username, password.get_secret_value()) if username and password else None,
        ca_file=settings.registry_ca_file,
    )
    return Codec(client, others=others)
