"""What an e-mail reject link stands for."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectLink:
    """Whose consent a link rejects, and until when (epoch seconds)."""

    brand_code: int
    recipient_type: str
    recipient: str
    expires: float
