"""The simulator's admin API as tests use it, and obviously fake consents to tell it."""

from datetime import UTC, datetime, timedelta

import httpx

from izin.consent.model import Channel, Source, Status
from izin.iys import BrandPath, ConsentItem

USERNAME = "ada@example.com"
PASSWORD = "not-a-password"
IYS_CODE = 100001
BRAND = BrandPath(iys_code=IYS_CODE, brand_code=100001)
PHONE = "+905550000001"


class Twin:
    """Sets the simulator up, plays the citizen and makes the weather."""

    def __init__(self, admin: httpx.Client) -> None:
        self._admin = admin

    def order(self, what: str, **fields: object) -> dict[str, object]:
        """Post an order; fail if the simulator does not follow it."""
        answer = self._admin.post(f"/{what}", json=fields)
        assert answer.is_success, answer.text
        return answer.json()

    def weather(self, operation: str, **fault: object) -> None:
        """Let a fault befall the next call of an operation."""
        self.order("faults", operation=operation, **fault)

    def advance(self, seconds: float) -> None:
        """Move the simulator's clock on."""
        self.order("clock", advance=seconds)

    def citizen(self, status: Status, **more: object) -> None:
        """Let a citizen change a consent at İYS."""
        movement = {
            "brandCode": BRAND.brand_code,
            "type": "MESAJ",
            "recipient": PHONE,
            "status": str(status),
            **more,
        }
        self.order("citizen", movements=[movement])

    def calls(self) -> dict[str, object]:
        """Give how often which operation was called."""
        counted: dict[str, object] = self._admin.get("/requests").json()
        return counted

    def movements(self) -> list[str]:
        """Give the movements saved so far, a line each."""
        return self._admin.get("/movements").text.splitlines()


def now() -> datetime:
    """Give a date of consent that is surely not ahead of İYS's clock."""
    return datetime.now(UTC) - timedelta(minutes=1)


def an_item(
    status: Status = Status.ONAY,
    *,
    recipient: str = PHONE,
    consent_date: datetime | None = None,
    **more: object,
) -> ConsentItem:
    """Give a consent as we state it."""
    return ConsentItem(
        recipient=recipient,
        type=Channel.EPOSTA if "@" in recipient else Channel.MESAJ,
        status=status,
        source=Source.HS_WEB,
        consent_date=consent_date or now(),
        **more,  # type: ignore[arg-type]
    )
