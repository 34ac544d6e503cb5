"""What settings, Kafka and the schema registry do to us.

OurError                (izin.consent.errors)
├── BrokerError         Kafka cannot be reached, or refuses a request
├── RegistryError       the schema registry cannot be reached, or refuses a schema
└── SettingError        settings contradict one another, or cannot be used
"""

from izin.consent import OurError


class BrokerError(OurError):
    """The broker cannot be reached, or refused a request."""


class RegistryError(OurError):
    """The schema registry cannot be reached, or refuses a schema. An operator acts."""


class SettingError(OurError):
    """Settings contradict one another, or cannot be used. An operator acts.

    The message names each setting and its remedy, and quotes no secret.
    """
