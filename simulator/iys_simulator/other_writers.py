"""Other writers of a brand: the citizen at İYS, the provider's portal, another integrator.

A citizen may do what İYS allows, whatever the brand's rights are. The portal and other integrators
follow the rules of a single add, and what they save appears in the pull stream HS.
"""

import orjson

from iys_simulator.errors.responses import RefusedError, refused
from iys_simulator.faults import CompetingWrite, Writer
from iys_simulator.rules.consent import Consent
from iys_simulator.rules.consent_fields import ValidationContext, read_consent
from iys_simulator.rules.recipients import stored_recipient
from iys_simulator.rules.register_rules import refusal_code, refusal_text
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Brand
from iys_simulator.store.movements import Movement, Origin, WritePath
from iys_simulator.store.via_requests import GivenConsent, ViaRequest

LINE_CLOSED = "IYS_AHS_HAT_KAPATMA"
"""The source of the opt-outs that a carrier sends when a line is closed."""

ON_THE_WEB = "IYS_WEB"
FIRST_ON_THE_WEB = "IYS_WEB_YENI"
"""The source of a citizen who adds a brand that has no record of the recipient."""

_KEY_FIELDS = ("type", "recipientType", "recipient")


def citizen_consent(  # noqa: PLR0913 - the fields of a consent
    state: SimulatorState,
    brand: Brand,
    *,
    channel: str,
    recipient_type: str,
    recipient: str,
    status: str,
    source: str = ON_THE_WEB,
    consent_date: str | None = None,
) -> Consent:
    """Return the consent that a citizen's change makes, dated now by default.

    A closed line is no new decision: by default it carries the date of the current record, or none.
    """
    recipient = stored_recipient(channel, recipient)
    if consent_date is None and source == LINE_CLOSED:
        current = state.register_of(brand.code).summary_of((channel, recipient_type, recipient))
        consent_date = current.consent_date if current else ""
    return Consent(
        type=channel,
        recipient_type=recipient_type,
        recipient=recipient,
        status=status,
        source=source,
        consent_date=state.now_text() if consent_date is None else consent_date,
    )


def save_citizen_change(
    state: SimulatorState, brand: Brand, consent: Consent, citizen_name: str = ""
) -> Movement:
    """Save a citizen's change and push it."""
    origin = Origin(path=WritePath.CITIZEN, client="citizen", request_id=state.call_id("citizen"))
    return state.save(brand, consent, origin, citizen_name)


def save_via_consents(state: SimulatorState, found: ViaRequest) -> ViaRequest:
    """Save what somebody consents to by ViA, as İYS does: over a RET too; return the request."""
    given = []
    for code in found.brand_codes:
        brand = state.directory.brands[code]
        for channel in found.types:
            consent = citizen_consent(
                state,
                brand,
                channel=channel,
                recipient_type=found.recipient_type,
                recipient=found.recipient,
                status="ONAY",
                source=found.source,
            )
            movement = save_citizen_change(state, brand, consent)
            given.append(
                GivenConsent(
                    brand_code=code,
                    type=channel,
                    transaction_id=movement.transaction_id,
                    creation_date=movement.creation_date,
                    consent_date=movement.consent_date,
                )
            )
    state.via_requests[found.request_id] = after = found.with_consents(tuple(given))
    return after


def write(state: SimulatorState, brand: Brand, item: dict[str, object], writer: Writer) -> Movement:
    """Save `item`, a consent as İYS's API takes it, for another writer.

    Date and source are optional: now, and HS_WEB.

    Raises:
        RefusedError: a field is invalid, or the rules refuse the consent.
    """
    complete = {"consentDate": state.now_text(), "source": "HS_WEB", **item}
    second = int(state.clock.seconds())
    context = ValidationContext.at(second, brand.activated_at, state.settings)
    consent = read_consent(complete, context)
    if isinstance(consent, list):
        raise RefusedError(422, consent)
    register = state.register_of(brand.code)
    is_full = register.is_full(brand) and not register.has_recipient(consent.recipient)
    current = register.summary_of(consent.key)
    code = refusal_code(consent, current, state.settings, is_full=is_full)
    if code is not None:
        text = refusal_text(code, consent.status, in_batch=False)
        raise refused(code, message=text)
    origin = Origin(
        path=WritePath(writer.value), client=writer.value, request_id=state.call_id(writer.value)
    )
    return state.save(brand, consent, origin)


def write_competing(
    state: SimulatorState, brand: Brand, body: bytes, competing_write: CompetingWrite
) -> int:
    """Save another writer's consent for each consent in `body` first; return how many were saved.

    A body that is no consent or list of consents, and what the rules refuse, is skipped.
    """
    try:
        content = orjson.loads(body)
    except ValueError:
        return 0
    saved = 0
    for item in content if isinstance(content, list) else [content]:
        if not isinstance(item, dict):
            continue
        key = {name: item[name] for name in _KEY_FIELDS if name in item}
        try:
            write(state, brand, {**key, "status": competing_write.status}, competing_write.writer)
        except RefusedError:
            continue
        saved += 1
    return saved
