"""Obviously fake consents to submit."""

from datetime import UTC, datetime, timedelta

from izin.consent import Channel, Source, Status
from izin.iys.wire_format import BrandPath, ConsentItem
from tests.support import builders
from tests.support.builders import PHONE
from tests.support.simulator import IYS_CODE

BRAND = BrandPath(iys_code=IYS_CODE, brand_code=builders.BRAND)


def now() -> datetime:
    """Return a consent date that is certainly not ahead of İYS's clock."""
    return datetime.now(UTC) - timedelta(minutes=1)


def an_item(
    status: Status = Status.ONAY,
    *,
    recipient: str = PHONE,
    consent_date: datetime | None = None,
    **more: object,
) -> ConsentItem:
    """Return a consent to submit."""
    return ConsentItem(
        recipient=recipient,
        type=Channel.EPOSTA if "@" in recipient else Channel.MESAJ,
        status=status,
        source=Source.HS_WEB,
        consent_date=consent_date or now(),
        **more,  # type: ignore[arg-type]
    )
