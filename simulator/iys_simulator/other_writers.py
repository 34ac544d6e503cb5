"""Whoever else writes to a brand: the citizen at İYS, the provider's portal, another integrator.

A citizen may do what İYS lets him, whatever the brand says; the portal and other integrators keep
the rules of a single add, and what they save appears in the pull stream HS like anybody's.
"""

import orjson

from iys_simulator.errors.responses import RefusedError, refused
from iys_simulator.faults import Intrusion, Writer
from iys_simulator.rules.fields import Consent, Today, read_consent, saved_recipient
from iys_simulator.rules.register_rules import refusal_code, refusal_text
from iys_simulator.state import Twin
from iys_simulator.store.accounts import CHANNELS, Brand
from iys_simulator.store.movements import Movement, Origin, Path

LINE_CLOSED = "IYS_AHS_HAT_KAPATMA"
"""Source of the rejections a carrier sends when a line is closed."""

ON_THE_WEB = "IYS_WEB"
FIRST_ON_THE_WEB = "IYS_WEB_YENI"
"""Source of a citizen who adds a brand that has no record of him."""

_ADDRESS = ("type", "recipientType", "recipient")


def citizens_consent(  # noqa: PLR0913 - so many facts an act has
    twin: Twin,
    brand: Brand,
    *,
    channel: str,
    recipient_type: str,
    recipient: str,
    status: str,
    source: str = ON_THE_WEB,
    consent_date: str | None = None,
) -> Consent:
    """Give what a citizen's act makes of his record, by default dated now.

    A line closing speaks of no new consent: by default it carries the last known date, or none.
    """
    recipient = saved_recipient(channel, recipient)
    if consent_date is None and source == LINE_CLOSED:
        known = twin.register_of(brand.code).standing((channel, recipient_type, recipient))
        consent_date = known.consent_date if known else ""
    return Consent(
        type=channel,
        recipient_type=recipient_type,
        recipient=recipient,
        status=status,
        source=source,
        consent_date=twin.now_text() if consent_date is None else consent_date,
    )


def act(twin: Twin, brand: Brand, consent: Consent, citizen_name: str = "") -> Movement:
    """Save a citizen's act and have it pushed."""
    origin = Origin(path=Path.CITIZEN, client="citizen", request_id=twin.call_id("citizen"))
    return twin.save(brand, consent, origin, citizen_name)


def write(twin: Twin, brand: Brand, item: dict[str, object], writer: Writer) -> Movement:
    """Save `item` (a consent as İYS's API takes it) for another writer.

    Date and source are optional: now, and HS_WEB. `RefusedError` where the rules refuse it.
    """
    told = {"consentDate": twin.now_text(), "source": "HS_WEB", **item}
    today = Today.at(int(twin.clock.seconds()), brand, twin.settings)
    consent = read_consent(told, today)
    if isinstance(consent, list):
        raise RefusedError(422, consent)
    register = twin.register_of(brand.code)
    is_full = register.is_full(brand) and not register.knows_address(consent.recipient)
    code = refusal_code(consent, register.standing(consent.key), twin.settings, is_full=is_full)
    if code is not None:
        text = refusal_text(code, consent.status, in_batch=False)
        raise refused(code, message=text)
    origin = Origin(
        path=Path(writer.value), client=writer.value, request_id=twin.call_id(writer.value)
    )
    return twin.save(brand, consent, origin)


def intrude(twin: Twin, brand: Brand, body: bytes, intrusion: Intrusion) -> int:
    """Let another writer be faster for each consent in `body`; how many he saved.

    A body that is no consent or list of consents, and what the rules refuse, is passed over.
    """
    try:
        told = orjson.loads(body)
    except ValueError:
        return 0
    saved = 0
    for item in told if isinstance(told, list) else [told]:
        if not isinstance(item, dict):
            continue
        address = {name: item[name] for name in _ADDRESS if name in item}
        try:
            write(twin, brand, {**address, "status": intrusion.status}, intrusion.writer)
        except RefusedError:
            continue
        saved += 1
    return saved


def channels_of(recipient: str) -> tuple[str, ...]:
    """Give the channels that reach an address like `recipient`."""
    return tuple(channel for channel in CHANNELS if ("@" in recipient) == (channel == "EPOSTA"))
