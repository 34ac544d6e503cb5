"""Signups as web forms and mobile backends post them, form or JSON; nothing is real.

The same seed, instant and brand give the same values. Phone numbers are in +90 555 1xx xx xx, so no
signup has the recipient of a row of the made-up CRM export.
"""

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

FORM_TYPE = "application/x-www-form-urlencoded"
JSON_TYPE = "application/json"

OPT_OUTS = 0.1


@dataclass(frozen=True, kw_only=True)
class Signup:
    """One request to the intake, and the status it states."""

    content_type: str
    body: bytes
    idempotency_key: str
    status: str


def signups(*, brand: int, now: datetime, seed: int = 2026, count: int = 200) -> list[Signup]:
    """Return ``count`` signups for ``brand``, forms and JSON in turn, each of another person."""
    chance = random.Random(f"{seed}/{now.isoformat()}/{count}")
    persons = chance.sample(range(1_000_000), count)
    return [
        (_form if number % 2 == 0 else _json)(chance, brand, person, now, number)
        for number, person in enumerate(persons)
    ]


def _form(chance: random.Random, brand: int, person: int, _now: datetime, number: int) -> Signup:
    status = _status(chance)
    by_mail = chance.random() < 0.5  # noqa: PLR2004  # half and half
    address = (
        {"e-posta": f"uye.{person:06d}@example.com"}
        if by_mail
        else {"telefon": f"05551{person:06d}"}
    )
    fields = {
        **address,
        "kanal": "E-POSTA" if by_mail else "SMS",
        "durum": "EVET" if status == "ONAY" else "HAYIR",
        "kaynak": "HS_WEB",
        "marka": str(brand),
    }
    return Signup(
        content_type=FORM_TYPE,
        body=urlencode(fields).encode(),
        idempotency_key=f"form-{number:04d}-{person:06d}",
        status=status,
    )


def _json(chance: random.Random, brand: int, person: int, now: datetime, number: int) -> Signup:
    status = _status(chance)
    at = now - timedelta(seconds=chance.randint(1, 120))
    reference = f"app-{number:04d}-{person:06d}"
    document = {
        "id": reference,
        "recipient": f"+905551{person:06d}",
        "type": chance.choice(("MESAJ", "ARAMA")),
        "status": status,
        "source": "HS_MOBIL",
        "consentDate": at.isoformat(timespec="seconds"),
        "brandCode": brand,
        "noticeVersion": "demo-1",
        "evidence": {"screen": "signup"},
    }
    return Signup(
        content_type=JSON_TYPE,
        body=json.dumps(document).encode(),
        idempotency_key=reference,
        status=status,
    )


def _status(chance: random.Random) -> str:
    return "RET" if chance.random() < OPT_OUTS else "ONAY"
