"""An opt-out (RET) that is too large to be carried loses texts, never its effect.

Its texts are cut, and its evidence is dropped; the input topic has them. İYS receives none of them
but the source, so it stays registrable.
"""

from dataclasses import replace
from typing import Any

from izin.consent.fields import RETAILER_LIMIT
from izin.consent.model import AdmittedEvent, ConsentEvent
from izin.consent.texts import cut, is_too_long
from izin.consent.violations import violation

_TEXTS = (
    "event_id",
    "customer_id",
    "date_basis",
    "origin",
    "recipient_raw",
    "source",
    "origin_ref",
    "actor",
    "correlation_id",
    "cause",
    "import_id",
    "notice_version",
    "evidence_hash",
)


def shortened(admitted: AdmittedEvent) -> AdmittedEvent:
    """Return ``admitted`` with bounded texts, a violation for each that is cut, and without its
    evidence and a list of more retailers than İYS takes.
    """
    event = admitted.event
    changes: dict[str, Any] = {
        name: cut(text)
        for name in _TEXTS
        if (text := getattr(event, name)) is not None and is_too_long(text)
    }
    if event.evidence:
        changes["evidence"] = {}
    if event.retailer_access is not None and len(event.retailer_access) > RETAILER_LIMIT:
        changes["retailer_access"] = None
    changes |= _of_iys(event)
    return replace(
        admitted,
        event=replace(event, **changes),
        violations=(
            *admitted.violations,
            *(violation(name, "IZIN-TEXT-SIZE") for name in sorted(changes)),
        ),
    )


def _of_iys(event: ConsentEvent) -> dict[str, Any]:
    iys = event.iys
    if iys is None:
        return {}
    short = replace(
        iys,
        stream=cut(iys.stream),
        path=cut(iys.path),
        transaction_id=None if iys.transaction_id is None else cut(iys.transaction_id),
    )
    return {} if short == iys else {"iys": short}
