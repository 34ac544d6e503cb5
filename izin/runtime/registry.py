"""The codec of an installation, with a schema registry where one is configured."""

from izin.runtime.kafka import access_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec


def codec(settings: KafkaSettings) -> Codec:
    """Return the codec of this installation; raises as ``KafkaAccess.codec`` does."""
    return access_of(settings).codec()
