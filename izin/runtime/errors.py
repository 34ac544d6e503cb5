"""What the schema registry does to us.

OurError                (izin.consent.errors)
└── RegistryError       the schema registry cannot be reached, or refuses a schema
"""

from izin.consent.errors import OurError


class RegistryError(OurError):
    """The schema registry cannot be reached, or refuses a schema. An operator acts."""
