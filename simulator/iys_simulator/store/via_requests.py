"""A request by which İYS asks somebody for consent (ViA), and how far it is."""

from dataclasses import dataclass, replace
from typing import Final, Self

CODE_LIFETIME: Final = 3 * 60.0
"""Seconds: İYS names 3 minutes for a code in its text, and 15 in the message of H1051."""
LINK_LIFETIME: Final = 24 * 3600.0
WRONG_CODES: Final = 3
"""After so many wrong codes the request is over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenConsent:
    """A consent that came of a request, as the register has it."""

    brand_code: int
    type: str
    transaction_id: str
    creation_date: str
    consent_date: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ViaRequest:
    """Who is asked for what, by which way."""

    request_id: str
    iys_code: int
    form_id: str
    recipient: str
    recipient_type: str
    verification_type: str
    brand_codes: tuple[int, ...]
    types: tuple[str, ...]
    code: str
    """What was sent to the person; with a link it stands in its address."""
    started: float
    """Epoch seconds."""
    started_text: str
    wrong_codes: int = 0
    given: tuple[GivenConsent, ...] = ()

    @property
    def is_by_code(self) -> bool:
        """Whether the person reads a code to whoever asks; else they open a link."""
        return self.verification_type.endswith("_OTP")

    @property
    def source(self) -> str:
        """The source of a consent that comes of it."""
        return "IYS_KISAMESAJ" if self.verification_type.startswith("SMS") else "IYS_EPOSTA"

    def is_over(self, now: float) -> bool:
        """Return whether nobody can consent by it any more, though they did not."""
        lifetime = CODE_LIFETIME if self.is_by_code else LINK_LIFETIME
        return self.wrong_codes >= WRONG_CODES or now >= self.started + lifetime

    def after_wrong_code(self) -> Self:
        """Return it after one more wrong code."""
        return replace(self, wrong_codes=self.wrong_codes + 1)

    def with_consents(self, given: tuple[GivenConsent, ...]) -> Self:
        """Return it with the consents that came of it."""
        return replace(self, given=given)

    def last_status(self, now: float) -> dict[str, object]:
        """Return stage and status, as İYS's tables of ViA name them."""
        stage, status = "CONSENT_REQUESTED", "PENDING"
        if self.given:
            stage, status = "COMPLETED", "SUCCESS"
        elif self.wrong_codes >= WRONG_CODES:
            stage, status = "COMPLETED", "OTP_CODE_INCORRECT"
        elif self.is_over(now):
            stage, status = "COMPLETED", "OTP_CODE_EXPIRED" if self.is_by_code else _NOT_OPENED
        elif self.wrong_codes:
            status = "OTP_CODE_INCORRECT"
        return {"stage": stage, "status": status}


_NOT_OPENED: Final = "LINK_CLICK_TIMEOUT"
