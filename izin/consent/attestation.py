"""Whether a consent is certainly new, so that it may overwrite a citizen's opt-out at İYS.

A citizen may opt out at any time (6563 m.8), and the burden of proof for a consent is the sender's
(Yönetmelik m.13). An old opt-in that arrives late, from a file or a paper form, must not undo an
opt-out given since. So an ONAY over a RET that the citizen gave at İYS is submitted only if it was
captured live, under a known notice, and reached us at once; any other is parked.
"""

from datetime import timedelta

from izin.consent.model import ConsentEvent, Source

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
"""Sources that report while the recipient acts; paper forms and events are entered later."""

ATTESTED_WITHIN = timedelta(minutes=15)


def attested(event: ConsentEvent, *, within: timedelta = ATTESTED_WITHIN) -> bool:
    """Whether ``event`` is certainly a new consent: live, under a known notice, received soon.

    Only such an ONAY overwrites a RET that the citizen gave at İYS without a person's approval.
    """
    if event.iys is not None or event.import_id is not None:
        return False
    if event.source not in LIVE_SOURCES or not event.notice_version:
        return False
    if event.consent_date is None or event.received_at is None:
        return False
    return event.received_at - event.consent_date <= within
