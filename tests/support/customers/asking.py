"""What the HTTP routes are asked with the API key of one customer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from izin.schemas.may_send_api import PATH
from tests.support.builders import BRAND, PHONE
from tests.support.customers.installation import FOREIGN_BRAND, FOREIGN_RECIPIENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to one of the listeners that are open to customers and to İYS."""

    server: str
    path: str
    body: Any = None
    """JSON, which is posted; None: it is a GET."""
    status: int = 200
    shows: str = ""
    """What the response has, so that an empty one does not pass."""


_NEW = "+905551000009"
"""A recipient of whom nothing is known."""
SERVERS = ("gate", "feeds", "intake", "sink")


def _everywhere(path: str, *, status: int = 200, shows: str = "") -> tuple[Ask, ...]:
    return tuple(Ask(server=one, path=path, status=status, shows=shows) for one in SERVERS)


def _may_send(brand: int, recipient: str, reason: str) -> Ask:
    question = {"brand_code": brand, "type": "MESAJ", "recipients": [recipient]}
    return Ask(server="gate", path=PATH, body=question, shows=f'"{reason}"')


def _consent(brand: int) -> Mapping[str, object]:
    return {
        "recipient": _NEW,
        "type": "MESAJ",
        "status": "RET",
        "source": "HS_WEB",
        "date_basis": "received",
        "brand_code": brand,
    }


def _posted(body: object, status: int, shows: str) -> Ask:
    return Ask(server="intake", path="/v1/consents", body=body, status=status, shows=shows)


_OK = '{"status":"ok"}'
ROUTES: Mapping[str, tuple[Ask, ...]] = {
    "/health/live": _everywhere("/health/live", shows=_OK),
    "/health/ready": _everywhere("/health/ready", shows=_OK),
    # Figures are the operators': the listeners of customers do not serve them.
    "/metrics": _everywhere("/metrics", status=404),
    # İYS calls it; an API key is none of its credentials.
    "/iys/push": (
        Ask(server="sink", path="/iys/push", body={"list": []}, status=401, shows="HTTP Basic"),
    ),
    "PATH": (
        _may_send(BRAND, PHONE, "registered"),
        _may_send(FOREIGN_BRAND, PHONE, "unknown"),
        _may_send(FOREIGN_BRAND, FOREIGN_RECIPIENT, "unknown"),
    ),
    "one.path": tuple(
        Ask(server="feeds", path=f"/v1/{feed}", shows='"customer_id":"acme"')
        for feed in ("opt-outs", "permissions", "outcomes")
    ),
    "/v1/consents": (
        _posted(_consent(BRAND), 202, "event"),
        _posted(_consent(FOREIGN_BRAND), 403, "IZIN-KEY-BRAND"),
        _posted([_consent(BRAND), _consent(FOREIGN_BRAND)], 403, "/1/brand_code"),
    ),
}
"""By the path as the code writes it, what each is asked with the key of ``acme``."""
