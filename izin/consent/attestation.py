"""When a consent is certainly a new one, so that it may overwrite a citizen's rejection at İYS.

A citizen may refuse at any time (6563 m.8), and the burden of proof for a consent is the sender's
(Yönetmelik m.13). An old "yes" that comes late, from a file or a form typed in, must not undo the
"no" given since. So an ONAY over a RET that the citizen gave at İYS is told only if it was captured
live, under a known notice, and reached us at once; any other waits for a person.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from izin.consent.model import Source

if TYPE_CHECKING:
    from izin.consent.model import ConsentEvent

LIVE_SOURCES = frozenset(
    {
        Source.HS_WEB,
        Source.HS_MOBIL,
        Source.HS_EORTAM,
        Source.HS_MESAJ,
        Source.HS_EPOSTA,
        Source.HS_CAGRI_MERKEZI,
        Source.HS_SOSYAL_MEDYA,
        Source.HS_ATM,
    }
)
"""Capture points that report while the recipient acts; paper and events are typed in later."""

ATTESTED_WITHIN = timedelta(minutes=15)


def attested(event: ConsentEvent, *, within: timedelta = ATTESTED_WITHIN) -> bool:
    """Whether ``event`` is certainly a new consent: live, under a known notice, told soon after.

    Only such an ONAY may overwrite a RET that the citizen gave at İYS without a person looking at
    it.
    """
    if event.iys is not None or event.import_id is not None:
        return False
    if event.source not in LIVE_SOURCES or not event.notice_version:
        return False
    if event.consent_date is None or event.received_at is None:
        return False
    return event.received_at - event.consent_date <= within
