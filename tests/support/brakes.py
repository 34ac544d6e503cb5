"""A brake that tripped, as the ledger shows it."""

from datetime import timedelta
from typing import Any

from izin.ledger.brake.decisions import Brake
from tests.support.builders import BRAND, CUSTOMER, NOON


def a_brake(**overrides: object) -> Brake:
    """Return an open brake that holds five opt-outs of ``crm`` back."""
    fields: dict[str, Any] = {
        "id": 1,
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "source": "crm",
        "status": "RET",
        "tripped_at": NOON,
        "keys": 5,
        "opted_in": 15,
        "share": 20.0,
        "decision": None,
        "decided_at": None,
        "decided_by": None,
        "reason": None,
        "held_back": 5,
        "first_due_at": NOON + timedelta(days=3),
    }
    return Brake(**fields | overrides)
