"""Which events of a resend still hold, and how they are marked. Pure.

A receiver that only applies what comes must end right. So a permission is sent again only while it
is the answer, and a denial unless there is a permission since. An opt-out (RET) is sent again
unless the recipient may be messaged by a consent that is newer: nothing else overtakes it, and what
cannot be compared does not either. Outcomes are facts about one event, and do not replace each
other.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from izin.projections.packed_permissions import whole_seconds
from izin.projections.permission_reader import consent_second
from izin.sinks.ledger.webhooks.resends import KeyStanding, OpenResend, ResendSelection
from izin.sinks.ledger.webhooks.subscriber import WebhookType
from izin.sinks.webhooks.events import WebhookEvent

HEADER = "webhook-repetition"
"""The header of a repetition: the number of its resend. A first delivery has none."""
FIELD = "repetition"
"""The field of its body, beside ``type``: ``resend`` (the number) and ``ordered_at``."""
_SAME = timedelta(milliseconds=1)
"""Records have instants in milliseconds."""


def is_selected(event: WebhookEvent, selection: ResendSelection) -> bool:
    """Whether ``event`` is one of those that are sent again."""
    return event.is_for(selection.filter) and (
        selection.keys is None or event.key in selection.keys
    )


def is_overtaken(event: WebhookEvent, standing: KeyStanding | None) -> bool:
    """Whether ``event`` no longer holds, by what holds of its key now; None: nothing is known."""
    may_send = standing is not None and standing.may_send
    given_at = None if standing is None else standing.since
    counts_from = event.since or datetime.fromtimestamp(event.appended, UTC)
    match event.type:
        case WebhookType.GRANTED:
            return not (may_send and given_at is not None and abs(given_at - counts_from) < _SAME)
        case WebhookType.REVOKED:
            return may_send and given_at is not None and given_at - counts_from >= _SAME
        case WebhookType.OPTED_OUT:
            if standing is None or not may_send:
                return False
            consent = consent_second(standing.registered_at, standing.consent_date)
            return consent > whole_seconds(counts_from)
        case _:
            return False


def marked(event: WebhookEvent, resend: OpenResend) -> WebhookEvent:
    """Return ``event`` with a body that says that it is a repetition."""
    mark = orjson.dumps(
        {FIELD: {"resend": resend.id, "ordered_at": resend.ordered_at}}, option=orjson.OPT_UTC_Z
    )
    return replace(event, body=event.body[:-1] + b"," + mark[1:])
