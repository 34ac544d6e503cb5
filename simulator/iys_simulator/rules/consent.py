"""A consent as İYS's API takes it, the words its fields may hold, and the key of its record."""

from typing import NamedTuple

CHANNELS = ("ARAMA", "MESAJ", "EPOSTA")
"""İYS's `type`: calls, text messages, e-mail."""

RECIPIENT_TYPES = ("BIREYSEL", "TACIR")
"""Individuals and merchants."""

STATUSES = ("ONAY", "RET")
"""Opt-in and opt-out."""

ConsentKey = tuple[str, str, str]
"""The record of a brand that a consent belongs to: type, recipientType, recipient."""


class Consent(NamedTuple):
    """A consent whose fields are valid.

    `source` and `consent_date` are empty where a TACIR consent left them out.
    """

    type: str
    recipient_type: str
    recipient: str
    status: str
    source: str
    consent_date: str
    retailer_code: int | None = None
    retailer_access: tuple[int, ...] = ()

    @property
    def key(self) -> ConsentKey:
        """The key of the record that this consent belongs to."""
        return (self.type, self.recipient_type, self.recipient)


class RecordSummary(NamedTuple):
    """What the rules need of the record that a key has now.

    `movement` is the record's row, `times` the number of the key's movements so far, `has_access`
    whether any retailer may use the consent.
    """

    status: str
    consent_date: str
    movement: int
    times: int
    has_access: int
