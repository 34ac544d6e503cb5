"""Rules that compare a consent with the record of its key.

They apply when a consent is saved, not when a batch is accepted, so an item may end in H178 because
of a citizen's opt-out or a single add in between. Pure: the current record is an argument.
"""

from iys_simulator.errors.messages import FIRST_RET_IN_BATCH, message_of
from iys_simulator.rules.consent import Consent, RecordSummary
from iys_simulator.settings import Settings


def refusal_code(  # noqa: PLR0911 - one return for each rule, in their order
    consent: Consent, current: RecordSummary | None, settings: Settings, *, is_full: bool
) -> str | None:
    """Return the H-code that refuses `consent` over `current` (the key's record), or None.

    `is_full`: the brand may register no further recipient (H525).

    First record: H486 (HS_KARAR may not create one) before H175 (RET may not), since HS_KARAR is
    always RET and H486 could never occur otherwise. Update: H462 and H463 (TACIR without date or
    source), H178 (not newer than the registered date; an equal one is not newer), H174 (RET on RET;
    ONAY on ONAY is a renewal).
    """
    if current is None:
        if consent.source == "HS_KARAR":
            return "H486"
        if consent.status == "RET" and not _may_start_with_ret(consent, settings):
            return "H175"
        return "H525" if is_full else None
    if not consent.consent_date:
        return "H462"
    if not consent.source:
        return "H463"
    is_equal = consent.consent_date == current.consent_date
    takes_equal = is_equal and settings.equal_date == "accepted"
    if consent.consent_date <= current.consent_date and not takes_equal:
        return "H178"
    if consent.status == current.status and (
        consent.status == "RET" or settings.onay_again == "refused"
    ):
        return "H174"
    return None


def refusal_text(code: str, status: str, *, in_batch: bool) -> str | None:
    """Return the message of a refusal where it differs from the code's usual one, else None.

    H174 names the current status; H175 has another message in the results of a batch.
    """
    if code == "H174":
        return message_of(code).replace("RET", status)
    return FIRST_RET_IN_BATCH if code == "H175" and in_batch else None


def _may_start_with_ret(consent: Consent, settings: Settings) -> bool:
    return consent.recipient_type == "TACIR" and settings.first_tacir_ret == "accepted"
