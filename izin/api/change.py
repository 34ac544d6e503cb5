"""A recipient that is the person's no longer: what it closes, and what is to be asked for again.

Whoever has the number now has consented to nothing, so each opt-in of the customer for the old
recipient ends with an opt-out. İYS has one source for it: HS_KARAR, the provider's own decision,
which can only be a RET. Nothing is carried over: a consent is of the address for which it was given
(Yönetmelik m.7), and İYS refuses what nobody gave.

An opt-in given after the change is of whoever has the recipient now, and stands.

The id of an opt-out is made of the consent that it ends, so a request that is repeated before the
ledger has its opt-outs publishes the same events; one after that finds what the first has closed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from izin.api.answers import ChangeResult
from izin.api.bodies import RecipientChange
from izin.consent import OurError, Registered, Source, Status
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.ledger.record import ConsentRow
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    RefusedRecord,
    read,
    validate,
)
from izin.producers.publishing.event_ids import message_event_id

ORIGIN = "recipient-change"
"""The origin of the opt-outs."""
_EVIDENCE: Mapping[str, str] = MappingProxyType({"reason": "changed recipient"})
_RULES = DateRules()


class Changed(NamedTuple):
    """What a change means for one consent."""

    row: ConsentRow
    result: ChangeResult
    opt_out: AcceptedRecord | None
    """To be published, where it closes the consent."""


def changed(
    rows: Sequence[ConsentRow],
    change: RecipientChange,
    directory: BrandDirectory,
    *,
    by: str,
    now: datetime,
) -> list[Changed]:
    """Return what ``change``, by the API key of that name, means for the consents among ``rows``,
    which are of its old recipient.

    Raises:
        OurError: one cannot be closed, for its brand is not registered any more.
    """
    found = []
    for row in rows:
        if row.desired_status == Status.ONAY or _is_of_iys_alone(row):
            opt_out = _opt_out(row, change.consent_date, directory, by=by, now=now)
            since = row.desired_at or row.registered_at
            if isinstance(opt_out, RefusedRecord):
                codes = ", ".join(violation.code for violation in opt_out.violations)
                raise OurError(f"a consent of brand {row.brand_code} cannot be closed: {codes}")
            if since is not None and since > opt_out.effective_at:
                found.append(Changed(row, ChangeResult.NEWER, None))
            else:
                found.append(Changed(row, ChangeResult.CLOSED, opt_out))
        elif row.desired_origin == ORIGIN:
            found.append(Changed(row, ChangeResult.BEFORE, None))
    return found


def _is_of_iys_alone(row: ConsentRow) -> bool:
    return row.desired_status is None and row.registered == Registered.ONAY


def _opt_out(
    row: ConsentRow, date: str | None, directory: BrandDirectory, *, by: str, now: datetime
) -> AcceptedRecord | RefusedRecord:
    values = {
        Field.BRAND_CODE: str(row.brand_code),
        Field.TYPE: row.channel,
        Field.RECIPIENT_TYPE: row.recipient_type,
        Field.RECIPIENT: row.recipient,
        Field.STATUS: str(Status.RET),
        Field.SOURCE: str(Source.HS_KARAR),
        Field.CONSENT_DATE: date or "",
        Field.ACTOR: by,
    }
    record = read(values, _RULES)
    ended = row.desired_event_id or row.registered_transaction_id or ""
    origin = EventOrigin(
        event_id=message_event_id(ORIGIN, ended, "\x1f".join(record.identity)),
        origin=ORIGIN,
        received_at=now,
        evidence=_EVIDENCE,
    )
    return validate(record, directory, origin)
