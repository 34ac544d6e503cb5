"""Hypothesis strategies: events that are close together, so that ties happen."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from izin.consent import AdmittedEvent, ConsentEvent
from tests.support.builders import NOON, an_admitted_event, an_event, an_iys_origin

STATUSES = st.sampled_from(["ONAY", "RET"])
NEAR_NOON = st.integers(min_value=-3_000, max_value=3_000).map(
    lambda milliseconds: NOON + timedelta(milliseconds=milliseconds)
)
STREAMS = st.sampled_from([None, "IYS", "HS"])


@st.composite
def admitted_events(draw: st.DrawFn) -> AdmittedEvent:
    """Draw events of one key, few enough that event ids repeat, with the same content or another.

    RETs may be undated, or of a day or a minute, or from a source that makes them not registrable.
    """
    at, status, stream = draw(NEAR_NOON), draw(STATUSES), draw(STREAMS)
    sources, dates = ["HS_MOBIL", "HS_WEB"], [at]
    if status == "RET":
        sources, dates = [*sources, "HS_NOWHERE"], [*dates, None]
    return an_admitted_event(
        event_id=draw(st.sampled_from(["event-1", "event-2"])),
        customer_id=draw(st.sampled_from(["acme", "other"])),
        status=status,
        source=draw(st.sampled_from(sources)),
        consent_date=draw(st.sampled_from(dates)),
        received_at=NOON + timedelta(seconds=draw(st.sampled_from([4, 4, 100, 90_000]))),
        date_basis=draw(st.sampled_from(["stated", "stated", "minute", "day"])),
        origin=draw(st.sampled_from(["crm", "web"])),
        iys=None if stream is None else an_iys_origin(stream=stream, creation_date=at),
    )


FAULTS: dict[str, dict[str, Any]] = {
    "H113": {"source": None},
    "H119": {"source": "HS_NOWHERE"},
    "H119 of İYS": {"source": "IYS_WEB"},
    "H126": {"retailer_access": tuple(range(10_000_000, 10_003_001))},
    "H155": {"source": "HS_2015"},
    "H156": {"consent_date": NOON - timedelta(days=365 * 20)},
    "H162": {"consent_date": NOON + timedelta(days=1)},
    "H163": {"retailer_access": ()},
    "IZIN-RETAILER-CODE": {"retailer_code": 7},
    "IZIN-RETAILER-CODE in access": {"retailer_access": (7,)},
    "IZIN-CUSTOMER-MISSING": {"customer_id": ""},
    "IZIN-EVENT-ID-MISSING": {"event_id": ""},
}
"""Everything that can be wrong with an event whose key and status can be read."""


@st.composite
def faulty_events(draw: st.DrawFn, **fixed: object) -> ConsentEvent:
    """Draw events with one violation or several, none of which hides the key."""
    fields: dict[str, Any] = {}
    for name in draw(st.sets(st.sampled_from(sorted(FAULTS)), min_size=1)):
        fields |= FAULTS[name]
    return an_event(**fields | fixed)
