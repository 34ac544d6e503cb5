"""Rules that need what is registered: judged when a consent is saved, not when it is accepted.

So a batch may end in H178 because of a citizen's rejection or a single add that came in between.
Pure: the record of the key, if there is one, is an argument.
"""

from iys_simulator.errors.messages import FIRST_RET_IN_BATCH, message_of
from iys_simulator.rules.fields import Consent
from iys_simulator.settings import Settings
from iys_simulator.store.movements import Standing


def refusal_code(  # noqa: PLR0911 - one return a rule, in the order of the rules
    consent: Consent, current: Standing | None, settings: Settings, *, is_full: bool
) -> str | None:
    """Give the H-code that refuses `consent` over `current` (the key's record), or None.

    `is_full` tells that the brand may register no further address (H525).

    First record: H486 (HS_KARAR may not create one) before H175 (RET may not), for HS_KARAR is
    always RET and H486 could never be seen otherwise. Update: H462 and H463 (TACIR without date or
    source), H178 (not newer than the registered date; an equal one is not newer), H174 (RET on RET;
    ONAY on ONAY is a renewal).
    """
    if current is None:
        if consent.source == "HS_KARAR":
            return "H486"
        if consent.status == "RET" and not _may_begin_with_ret(consent, settings):
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
    """Give the wording of a refusal where it is not the usual one.

    H174 names the status that stands already; H175 is worded otherwise in the results of a batch.
    """
    if code == "H174":
        return message_of(code).replace("RET", status)
    return FIRST_RET_IN_BATCH if code == "H175" and in_batch else None


def _may_begin_with_ret(consent: Consent, settings: Settings) -> bool:
    return consent.recipient_type == "TACIR" and settings.first_tacir_ret == "accepted"
