"""The consents of a customer that became void, as a list that is none to send to.

A consent that was not registered in time is void (Yönetmelik m.7/12), and may not be asked for by a
commercial message: that message would need the consent itself (6563 m.6/1). So the list says in
each of its rows that it is none to send to, and has no column that an import of consents needs.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime
from typing import Any

from izin.consent import TURKEY
from izin.ledger.db import Ledger, statements

_SQL = statements("onboarding")
_PAGE = 5000
NOTICE = (
    "GÖNDERİM LİSTESİ DEĞİLDİR: onay, ticari iletiyle istenemez (6563 m.6/1) / NO SEND LIST: a "
    "consent may not be asked for by a commercial message"
)
"""What each row begins with."""
NEW_CONSENTS = (
    ("sonraki ziyaret", "next visit"),
    ("sipariş veya üyelik formu", "order or membership form"),
    ("alıcının kendi araması", "a call that the recipient makes"),
    ("İYS'nin ViA formu", "İYS's ViA form"),
)
"""Where a new consent may be given, in Turkish and English."""
HEADER = (
    "uyarı/notice",
    "marka/brand",
    "kanal/channel",
    "alıcı tipi/recipient type",
    "alıcı/recipient",
    "onay verildi/given",
    "geçersiz oldu/void since",
    "yeni onay için/ways to a new one",
)


VoidConsent = Mapping[str, Any]
"""A consent that became void: a row of the statement ``void``. Contains personal data."""


async def void_consents(ledger: Ledger, brand_codes: Collection[int]) -> AsyncIterator[VoidConsent]:
    """Yield the consents of these brands that became void, in the order of their keys."""
    after = ""
    while True:
        values = {"after": after, "brand_codes": sorted(brand_codes), "size": _PAGE}
        rows = await ledger.fetch(_SQL["void"], values)
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        after = rows[-1]["key"]


def row_of(one: VoidConsent) -> list[str]:
    """Return the cells of a void consent under ``HEADER``."""
    recipient = one["recipient"]
    return [
        NOTICE,
        str(one["brand_code"]),
        one["channel"],
        one["recipient_type"],
        f"'{recipient}" if recipient.startswith("+") else recipient,
        _turkish(one["desired_at"]),
        _turkish(one["expires_at"]),
        "; ".join(f"{turkish}/{english}" for turkish, english in NEW_CONSENTS),
    ]


def _turkish(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(TURKEY):%d.%m.%Y %H:%M:%S}"
