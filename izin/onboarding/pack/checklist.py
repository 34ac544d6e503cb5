"""The checklist of an application to İYS: what the customer has given, and what is missing.

From İYS's application (reference 8). The MERSİS number of a natural person begins with its T.C.
number, which is never stored: such a customer enters it at İYS itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

from izin.sinks.ledger.registry.application_items import (
    DAYS,
    OF_BRANDS,
    ApplicationItem,
    GivenItem,
    SignatureKind,
)
from izin.sinks.ledger.registry.customers import Customer, PersonKind
from izin.sinks.record.brand import Brand

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
    known = {(one.item, one.brand_code): one for one in given}
    return tuple(_lines(customer, [one.brand_code for one in brands], known))


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
