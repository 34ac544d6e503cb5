"""The consents that became void, by which lawful way each may come back, and which have.

A consent that was not registered in time is void (Yönetmelik m.7/12), and one that İYS refused was
never registered. Neither may be asked for by a commercial message: that message would need the
consent itself (6563 m.6/1). So the list says in each of its rows that it is none to send to, and
has no column that an import of consents needs. It names the occasions on which a new consent may be
given; where an opt-out (RET) stands, nobody asks at all: only the recipient may begin.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from izin.consent import TURKEY, Registered
from izin.iys.errors import FIELD_FAULTS
from izin.ledger.db import Ledger, statements

_SQL = statements("onboarding")
_PAGE = 5000
NOTICE = (
    "GÖNDERİM LİSTESİ DEĞİLDİR: onay, ticari iletiyle istenemez (6563 m.6/1) / NO SEND LIST: a "
    "consent may not be asked for by a commercial message"
)
"""What each row begins with."""
_HEADER = ("marka/brand", "kanal/channel", "alıcı tipi/recipient type", "alıcı/recipient")
HEADER = (
    "uyarı/notice",
    *_HEADER,
    "onay verildi/given",
    "geçersiz oldu/void since",
    "neden/why",
    "yeni onay için/ways to a new one",
)
"""Of the consents that are void."""
RETURNED_HEADER = (
    *_HEADER,
    "geçersiz oldu/void since",
    "İYS'de onay/ONAY at İYS since",
    "kaynak/source",
)
"""Of those that have come back."""
VoidConsent = Mapping[str, Any]
"""A consent that became void: a row of the statement ``void``. Contains personal data."""
ReturnedConsent = Mapping[str, Any]
"""A consent that has come back: a row of the statement ``returned``. Contains personal data."""


class ConsentReturn(NamedTuple):
    """How a void consent may lawfully come back, in two languages."""

    turkish: str
    english: str


OCCASION = ConsentReturn(
    turkish="sonraki ziyaret; sipariş veya üyelik formu; alıcının kendi araması; böyle bir "
    "vesileyle İYS ViA",
    english="next visit, order or membership form, a call that the recipient makes, or İYS's ViA "
    "on such an occasion",
)
CORRECTED = ConsentReturn(
    turkish="sonraki ziyarette, formda veya alıcının kendi aramasında düzeltilen adresle",
    english="at the next visit, on a form or in a call that the recipient makes, with the address "
    "corrected",
)
"""İYS refused the address itself."""
OWN_WISH = ConsentReturn(
    turkish="yalnızca alıcının kendi talebiyle: ret geçerlidir, onay istenmez",
    english="by the recipient's own wish alone: an opt-out stands, and nobody asks",
)


def way_back(one: VoidConsent) -> ConsentReturn:
    """Return how a consent may come back."""
    latest_ret = one["latest_ret_at"]
    opted_out = latest_ret is not None and latest_ret >= one["desired_at"]
    if opted_out or one["registered"] == Registered.RET:
        return OWN_WISH
    return CORRECTED if one["code"] in FIELD_FAULTS else OCCASION


async def void_consents(ledger: Ledger, brand_codes: Collection[int]) -> AsyncIterator[VoidConsent]:
    """Yield the consents of these brands that are void, in the order of their keys."""
    async for one in _pages(ledger, "void", brand_codes):
        yield one


async def returned_consents(
    ledger: Ledger, brand_codes: Collection[int]
) -> AsyncIterator[ReturnedConsent]:
    """Yield the consents of these brands that were void and that İYS holds by a later one, in the
    order of their keys.
    """
    async for one in _pages(ledger, "returned", brand_codes):
        if one["void_at"] is not None and one["void_at"] <= one["registered_at"]:
            yield one


async def _pages(
    ledger: Ledger, name: str, brand_codes: Collection[int]
) -> AsyncIterator[Mapping[str, Any]]:
    values = {"after": "", "brand_codes": sorted(brand_codes), "size": _PAGE}
    while rows := await ledger.fetch(_SQL[name], values):
        for row in rows:
            yield row
        values["after"] = rows[-1]["key"]


def row_of(one: VoidConsent) -> list[str]:
    """Return the cells of a void consent under ``HEADER``."""
    refused = f"İYS kabul etmedi/refused ({one['code'] or '–'})"
    way = way_back(one)
    return [
        NOTICE,
        *_whose(one),
        _at(one["desired_at"]),
        _at(one["expires_at"] if one["state"] == "expired" else one["updated_at"]),
        "süresi geçti/expired" if one["state"] == "expired" else refused,
        f"{way.turkish} / {way.english}",
    ]


def returned_row_of(one: ReturnedConsent) -> list[str]:
    """Return the cells of a consent that has come back under ``RETURNED_HEADER``."""
    return [
        *_whose(one),
        _at(one["void_at"]),
        _at(one["registered_at"]),
        one["registered_source"] or "",
    ]


def _whose(one: Mapping[str, Any]) -> list[str]:
    recipient = one["recipient"]
    shown = f"'{recipient}" if recipient.startswith("+") else recipient
    return [str(one["brand_code"]), one["channel"], one["recipient_type"], shown]


def _at(at: datetime | None) -> str:
    return f"{at.astimezone(TURKEY):%d.%m.%Y %H:%M:%S}" if at else ""
