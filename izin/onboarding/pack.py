"""The application pack: what İYS asks of a customer before its first loading.

Addresses are counted exactly, by the ledger or in files. The checklist says what the
customer has given, and what is missing (İYS's application, reference 8). The MERSİS number of a
natural person begins with its T.C. number, which is never stored: such a customer enters it at İYS
itself. The pack is a page to print, in Turkish, with the frame of ``evidence.summary``.

The consents that are void are a list that is none to send to. A consent that was not registered in
time is void (Yönetmelik m.7/12), and one that İYS refused was never registered. Neither may be
asked for by a commercial message: that message would need the consent itself (6563 m.6/1). So the
list says in each of its rows that it is none to send to, and has no column that an import of
consents needs. It names the occasions on which a new consent may be given; beside an opt-out (RET)
nobody asks at all: only the recipient may begin.
"""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from izin.consent import THRESHOLD, TURKEY, Registered
from izin.evidence.summary import fact_table, page, table
from izin.iys.errors import FIELD_FAULTS
from izin.ledger.db import Ledger, statements
from izin.ledger.record import Brand
from izin.ledger.registry.application_items import (
    DAYS,
    OF_BRANDS,
    ApplicationItem,
    GivenItem,
    SignatureKind,
)
from izin.ledger.registry.customers import Customer, PersonKind
from izin.onboarding.address_book import AddressCount

_SQL = statements("onboarding")
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
ListedConsent = Mapping[str, Any]
"""A consent that is void, or has come back: a row of these statements. Contains personal data."""
OCCASION = (
    "sonraki ziyaret; üyelik veya sipariş formu; alıcının kendi araması; o sırada İYS ViA",
    "next visit, order form, a call that the recipient makes, or İYS's ViA on such an occasion",
)
CORRECTED = (
    "sonraki ziyarette, formda veya alıcının kendi aramasında düzeltilen adresle",
    "next visit, order form, or a call that the recipient makes; with the address corrected",
)
"""İYS refused the address itself."""
OWN_WISH = (
    "yalnızca alıcının kendi talebiyle: ret geçerlidir, onay istenmez",
    "by the recipient's own wish alone: an opt-out stands, and nobody asks",
)
MERSIS = "mersis"
_WORDS: Mapping[str, tuple[str, str]] = {
    MERSIS: ("MERSİS number", "MERSİS numarası"),
    ApplicationItem.TRADE_MARK: ("trade-mark registration", "Marka tescili"),
    ApplicationItem.UNDERTAKING: (
        "undertaking on basic services, with electronic signature",
        "Temel hizmetler kullanım taahhütnamesi (e-imzalı)",
    ),
    ApplicationItem.SIGNATURE: (
        "whether the signatories sign alone or jointly",
        "İmza yetkisi (münferit veya müşterek)",
    ),
    ApplicationItem.SIGNATORY: ("signatory", "İmza yetkilisi"),
    ApplicationItem.SECOND_SIGNATORY: ("second signatory", "İkinci imza yetkilisi"),
    ApplicationItem.AUTHORISATION: (
        "authorisation of the business partner at İYS",
        "İYS'de iş ortağı yetkilendirmesi",
    ),
    ApplicationItem.OPT_OUT_NUMBER: ("number to opt out by a call", "Arama ile ret numarası"),
    ApplicationItem.OPT_OUT_SMS: ("short message to opt out", "Kısa mesaj ile ret bilgisi"),
    ApplicationItem.OPT_OUT_URL: ("address to opt out by a click", "Tıklama ile ret adresi"),
}
_SIGNATURES: Mapping[str, str] = {
    SignatureKind.ALONE: "münferit",
    SignatureKind.JOINTLY: "müşterek",
}
Cell = str | int
_KINDS = {
    "legal": "tüzel kişi",
    "merchant": "gerçek kişi, tacir",
    "craftsman": "gerçek kişi, esnaf",
    "other": "gerçek kişi, diğer",
}


async def address_counts(ledger: Ledger, customer_id: str) -> dict[int, AddressCount]:
    """Return the addresses of each brand of a customer that İYS holds or is to hold, as the ledger
    has them.
    """
    return {
        row["brand_code"]: AddressCount(phones=row["phones"], emails=row["emails"])
        for row in await ledger.fetch(_SQL["addresses"], {"customer_id": customer_id})
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistLine:
    """An item of the checklist."""

    item: str
    brand_code: int | None
    title: str
    """In English."""
    title_tr: str
    value: str | None
    value_tr: str | None
    given_by: str | None
    given_at: datetime | None
    is_needed: bool

    @property
    def is_missing(self) -> bool:
        """Whether the customer must still give it."""
        return self.is_needed and self.value is None

    @property
    def name(self) -> str:
        """How a person names it, as ``trade-mark:100001``."""
        return self.item if self.brand_code is None else f"{self.item}:{self.brand_code}"


def checklist(
    customer: Customer, brands: Iterable[Brand], given: Iterable[GivenItem]
) -> tuple[ChecklistLine, ...]:
    """Return every item, with what the customer has given of it."""
    known = {(item.item, item.brand_code): item for item in given}
    return tuple(_lines(customer, [brand.brand_code for brand in brands], known))


def _lines(
    customer: Customer, codes: list[int], known: Mapping[tuple[str, int], GivenItem]
) -> Iterator[ChecklistLine]:
    is_legal = customer.kind in {None, PersonKind.LEGAL}
    enters_itself = None if is_legal else "entered at İYS by the customer: it is never stored here"
    yield ChecklistLine(
        item=MERSIS,
        brand_code=None,
        title=_WORDS[MERSIS][0],
        title_tr=_WORDS[MERSIS][1],
        value=customer.mersis or enters_itself,
        value_tr=customer.mersis or (None if is_legal else "başvuru sahibi İYS'de kendisi girer"),
        given_by=None,
        given_at=None,
        is_needed=is_legal,
    )
    signature = known.get((ApplicationItem.SIGNATURE, 0))
    is_joint = signature is not None and signature.value == SignatureKind.JOINTLY
    for item in ApplicationItem:
        for code in codes if item in OF_BRANDS else [0]:
            found = known.get((item, code))
            value = None if found is None else found.value
            yield ChecklistLine(
                item=item,
                brand_code=code or None,
                title=_WORDS[item][0],
                title_tr=_WORDS[item][1],
                value=value,
                value_tr=_turkish(item, value) if value else None,
                given_by=None if found is None else found.given_by,
                given_at=None if found is None else found.given_at,
                is_needed=item is not ApplicationItem.SECOND_SIGNATORY or is_joint,
            )


def _turkish(item: ApplicationItem, value: str) -> str:
    """Return a value as the page has it: days as Turkish writes them."""
    if item in DAYS:
        with suppress(ValueError):
            return f"{date.fromisoformat(value):%d.%m.%Y}"
    return _SIGNATURES.get(value, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCounts:
    """The addresses of a provider over all of its brands: its message package is for so many."""

    iys_code: int
    addresses: int
    limit: int | None
    """What its subscription allows; None: İYS does not show it, as to every partner."""

    @property
    def is_above_threshold(self) -> bool:
        """Whether it has more than 150,000 addresses."""
        return self.addresses > THRESHOLD

    @property
    def beyond_limit(self) -> int:
        """How many addresses İYS would refuse (H525)."""
        return 0 if self.limit is None else max(0, self.addresses - self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationPack:
    """What İYS asks of a customer before its first loading."""

    customer: Customer
    brands: Mapping[int, Brand]
    counts: Mapping[int, AddressCount]
    """By brand."""
    counted_in: tuple[str, ...]
    """The names of the files that were counted; none: the ledger was."""
    counted_in_ledger: tuple[int, ...] = ()
    """Brands that are in none of these files: they have the counts of the ledger."""
    providers: tuple[ProviderCounts, ...]
    checklist: tuple[ChecklistLine, ...]
    made_at: datetime

    @property
    def missing(self) -> tuple[ChecklistLine, ...]:
        """What the customer must still give."""
        return tuple(one for one in self.checklist if one.is_missing)


def providers_of(
    brands: Mapping[int, Brand], counts: Mapping[int, AddressCount]
) -> tuple[ProviderCounts, ...]:
    """Return the providers of ``brands``: a customer mostly is one."""
    totals: Counter[int] = Counter()
    limits: dict[int, int | None] = {}
    for code, brand in brands.items():
        totals[brand.iys_code] += counts[code].total if code in counts else 0
        limits[brand.iys_code] = limits.get(brand.iys_code) or brand.consent_limit
    return tuple(
        ProviderCounts(
            iys_code=iys_code,
            addresses=total,
            limit=limits[iys_code],
        )
        for iys_code, total in sorted(totals.items())
    )


def number(count: int) -> str:
    """Return a number as Turkish writes it."""
    return f"{count:,}".replace(",", ".")


def facts_of(pack: ApplicationPack) -> list[tuple[str, str]]:
    """Return what is known of the customer."""
    one = pack.customer
    return [
        ("Hizmet sağlayıcı", one.name),
        ("Türü", _KINDS.get(one.kind or "", "bildirilmedi")),
        ("VKN", one.vkn or "–"),
        ("İYS no", str(one.iys_code or "–")),
        ("Sayılan", _counted(pack)),
    ]


def _counted(pack: ApplicationPack) -> str:
    if not pack.counted_in:
        return "kayıtlı izinler"
    brands = ", ".join(map(str, pack.counted_in_ledger))
    others = f"; dosyalarda olmayan marka {brands}: kayıtlı izinler" if brands else ""
    return ", ".join(pack.counted_in) + others


def _brand_row(pack: ApplicationPack, code: int) -> list[Cell]:
    one, name = pack.counts[code], f"{pack.brands[code].name} ({code})"
    return [name, one.phones, one.emails, one.total, _side(one.total > THRESHOLD)]


def _provider_row(one: ProviderCounts) -> list[Cell]:
    limit = "İYS göstermiyor" if one.limit is None else f"en fazla {number(one.limit)} adres"
    beyond = f"; {number(one.beyond_limit)} adres sığmaz (H525)" if one.beyond_limit else ""
    return [
        str(one.iys_code),
        one.addresses,
        _side(one.is_above_threshold),
        limit + beyond,
    ]


def _checklist_row(one: ChecklistLine) -> list[Cell]:
    brand = "" if one.brand_code is None else f", marka {one.brand_code}"
    given = "" if one.given_at is None else f", {one.given_at.astimezone(TURKEY):%d.%m.%Y}"
    state = "EKSİK" if one.is_missing else "var" if one.value else "gerekmiyor"
    return [f"{one.title_tr}{brand}", one.value_tr or "–", f"{one.given_by or '–'}{given}", state]


def _side(is_above: bool) -> str:
    return "üzerinde" if is_above else "altında veya eşit"


def page_of(pack: ApplicationPack) -> bytes:
    """Return the page as HTML."""
    title = f"İYS başvuru dosyası – {pack.customer.name}"
    made = f"{pack.made_at.astimezone(TURKEY):%d.%m.%Y %H:%M}"
    footer = f"{title} · {made} tarihinde hazırlandı · Sayımlar bu andaki kayıtlara göredir."
    return page(title, _parts(pack), footer)


def _parts(pack: ApplicationPack) -> Iterator[str]:
    yield "<header><h1>İleti Yönetim Sistemi (İYS) başvuru dosyası</h1>"
    yield "<p>Adres sayıları, gereken ileti paketi ve başvuru belgeleri.</p></header>"
    yield fact_table(facts_of(pack))
    count = len(pack.missing)
    state = f"{count} belge veya bilgi eksik" if count else "Belge ve bilgiler tamam"
    yield f'<div class="answer"><p><strong>{state}.</strong></p></div>'
    yield from _section(
        "Adres sayıları",
        "Bir telefon numarası veya e-posta adresi, kaç kanalda izni olursa olsun, markada bir kez "
        "sayılır.",
        ("Marka", "Telefon", "E-posta", "Toplam adres", "150.000 sınırı"),
        [_brand_row(pack, code) for code in pack.brands],
    )
    yield from _section(
        "İleti paketi",
        "Paket, hizmet sağlayıcının bütün markalarındaki adreslere göredir. Sınırın üzerindeki "
        "adresler İYS'ye kaydedilemez (H525).",
        ("İYS no", "Toplam adres", "150.000 sınırı", "Abonelik"),
        map(_provider_row, pack.providers),
    )
    yield from _section(
        "Başvuru belgeleri",
        "Eksik olanlar başvurudan önce tamamlanır.",
        ("Belge/bilgi", "Verilen", "Veren", "Durum"),
        map(_checklist_row, pack.checklist),
    )


def _section(
    title: str, note: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> Iterator[str]:
    yield f"<h2>{title}</h2>"
    yield f"<p>{note}</p>"
    yield table(
        columns, [[number(one) if isinstance(one, int) else one for one in row] for row in rows]
    )


def way_back(one: ListedConsent) -> tuple[str, str]:
    """Return how a void consent may lawfully come back, in Turkish and in English."""
    latest_ret = one["latest_ret_at"]
    opted_out = latest_ret is not None and latest_ret >= one["desired_at"]
    if opted_out or one["registered"] == Registered.RET:
        return OWN_WISH
    return CORRECTED if one["code"] in FIELD_FAULTS else OCCASION


async def listed(
    ledger: Ledger, brand_codes: Collection[int], *, returned: bool = False
) -> AsyncIterator[ListedConsent]:
    """Yield the consents of these brands that are void, in the order of their keys; or those
    ``returned``: of which İYS holds a later one.
    """
    values = {"after": "", "brand_codes": sorted(brand_codes), "size": 5000}
    while rows := await ledger.fetch(_SQL["returned" if returned else "void"], values):
        for row in rows:
            if not returned or (row["void_at"] and row["void_at"] <= row["registered_at"]):
                yield row
        values["after"] = rows[-1]["key"]


def row_of(one: ListedConsent) -> list[str]:
    """Return the cells of a void consent under ``HEADER``."""
    is_expired = one["state"] == "expired"
    refused = f"İYS kabul etmedi/refused ({one['code'] or '–'})"
    return [
        NOTICE,
        *_whose(one),
        _at(one["desired_at"]),
        _at(one["expires_at"] if is_expired else one["updated_at"]),
        "süresi geçti/expired" if is_expired else refused,
        " / ".join(way_back(one)),
    ]


def returned_row_of(one: ListedConsent) -> list[str]:
    """Return the cells of a consent that has come back under ``RETURNED_HEADER``."""
    dates = (_at(one[name]) for name in ("void_at", "registered_at"))
    return [*_whose(one), *dates, one["registered_source"] or ""]


def _whose(one: ListedConsent) -> list[str]:
    recipient = one["recipient"]
    shown = f"'{recipient}" if recipient.startswith("+") else recipient
    return [str(one["brand_code"]), one["channel"], one["recipient_type"], shown]


def _at(at: datetime | None) -> str:
    return f"{at.astimezone(TURKEY):%d.%m.%Y %H:%M:%S}" if at else ""
