"""A client of the simulator's admin API, and obviously fake consents to submit."""

from datetime import UTC, datetime, timedelta

import httpx

from izin.consent.model import Channel, Source, Status
from izin.iys import BrandPath, ConsentItem

USERNAME = "ada@example.com"
PASSWORD = "not-a-password"
IYS_CODE = 100001
BRAND = BrandPath(iys_code=IYS_CODE, brand_code=100001)
PHONE = "+905550000001"


class SimulatorAdmin:
    """Configures the simulator, acts as the citizen and injects faults."""

    def __init__(self, admin: httpx.Client) -> None:
        self._admin = admin

    def post(self, what: str, **fields: object) -> dict[str, object]:
        """Post to the admin API, and fail unless it succeeds."""
        answer = self._admin.post(f"/{what}", json=fields)
        assert answer.is_success, answer.text
        return answer.json()

    def inject_fault(self, operation: str, **fault: object) -> None:
        """Inject a fault into the next call of an operation."""
        self.post("faults", operation=operation, **fault)

    def advance(self, seconds: float) -> None:
        """Advance the clock of the simulator."""
        self.post("clock", advance=seconds)

    def citizen(self, status: Status, **more: object) -> None:
        """Change a consent as a citizen does at İYS."""
        movement = {
            "brandCode": BRAND.brand_code,
            "type": "MESAJ",
            "recipient": PHONE,
            "status": str(status),
            **more,
        }
        self.post("citizen", movements=[movement])

    def calls(self) -> dict[str, object]:
        """Return how often each operation was called."""
        counted: dict[str, object] = self._admin.get("/requests").json()
        return counted

    def movements(self) -> list[str]:
        """Return the movements saved so far, one line each."""
        return self._admin.get("/movements").text.splitlines()


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
