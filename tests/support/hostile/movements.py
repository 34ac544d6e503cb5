"""Hostile movements, as İYS might show them, made from a seed."""

import json
from collections.abc import Sequence
from typing import Any

from tests.support.builders import BRAND
from tests.support.hostile.inputs import HostileInputs
from tests.support.simulator import IYS_CODE

FIELDS = (
    "recipient",
    "type",
    "recipientType",
    "status",
    "source",
    "consentDate",
    "creationDate",
    "transactionId",
    "iysCode",
    "brandCode",
)


def a_movement(recipient: str) -> dict[str, Any]:
    """Return the opt-out of a citizen, as İYS shows it."""
    return {
        "recipient": recipient,
        "type": "MESAJ",
        "recipientType": "BIREYSEL",
        "status": "RET",
        "source": "IYS_WEB",
        "consentDate": "2026-03-02 12:00:00",
        "creationDate": "2026-03-02 12:00:01",
        "transactionId": "0" * 64,
        "iysCode": IYS_CODE,
        "brandCode": BRAND,
    }


class HostileMovements(HostileInputs):
    """Makes hostile movements; the same ones for the same seed."""

    def movement(self, recipient: str) -> Any:  # noqa: ANN401  # any JSON
        """Return a movement with any of its fields spoilt, or no movement at all."""
        if self.random.random() < 0.05:  # now and then
            return self.value()
        movement = a_movement(recipient)
        for name in self.random.sample(FIELDS, self.random.randrange(1, 5)):
            given = movement[name]
            how = self.random.random()
            if how < 0.2:  # as often as each of the others
                del movement[name]
            elif how < 0.4 and isinstance(given, str):  # likewise
                movement[name] = self.spoilt(given)
            elif name.endswith("Date"):
                movement[name] = self.date()
            else:
                movement[name] = self.value()
        return movement

    def page(self, movements: Sequence[Any], after: str) -> bytes:
        """Return a page of movements, with characters escaped or not."""
        text = json.dumps(
            {"after": after, "list": list(movements)},
            ensure_ascii=self.random.random() < 0.5,  # half of them
        )
        return text.encode("utf-8", "surrogatepass")
