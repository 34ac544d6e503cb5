"""What an opt-out link in an e-mail refers to."""

from dataclasses import dataclass

CHANNEL = "EPOSTA"
"""The channel whose consents have opt-out links."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptOutLink:
    """Whose consent a link withdraws, and when it expires (epoch seconds)."""

    brand_code: int
    recipient_type: str
    recipient: str
    expires: float
