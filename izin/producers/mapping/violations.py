"""What can be wrong with how a statement is written, before the law looks at what it says.

İYS's code where it has one (H118); ``IZIN-…`` where it has none. The words say what would be right,
and never quote what was sent, for that may be a person's address.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from izin.consent.violations import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.consent.errors import SourceError
    from izin.producers.brand_directory import UnknownBrandError

_SHOWN = 40

KNOWN_FIELDS = (
    "recipient (or phone, email), type, status, source, consentDate, recipientType, brandCode, "
    "ref, id, retailerCode, retailerAccess, noticeVersion, actor, sequence, correlationId, "
    "evidenceHash, evidence, dateBasis"
)


REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "H118": (
            f"no such field; leave it out or use one of: {KNOWN_FIELDS}",
            "Bilinmeyen alan; gönderimden çıkarın ya da bilinen bir alan adı kullanın.",
        ),
        "IZIN-BRAND-UNKNOWN": (
            "brand {brand} is not registered; correct it, or register it: izin brands add {brand}",
            "{brand} kodlu marka kayıtlı değil; düzeltin ya da markayı tanıtın.",
        ),
        "IZIN-DATE-BASIS": (
            'dateBasis is "stated", or "received" where the act itself reaches us now',
            'dateBasis yalnızca "stated" ya da "received" olabilir.',
        ),
        "IZIN-EVIDENCE": (
            "evidence is an object of texts, {longest} characters in all; else send evidenceHash",
            "Kanıt, metinlerden oluşan bir nesne olmalı; fazlasının özetini gönderin.",
        ),
        "IZIN-NOT-A-NUMBER": (
            "not a whole number from 0 to {largest}; write it in digits",
            "0 ile {largest} arasında bir tam sayı değil; yalnızca rakam kullanın.",
        ),
        "IZIN-ROW": (
            "the row cannot be told apart: {what}; correct quotes and delimiters",
            "Satır {width} sütuna ayrılamıyor; ayraçları ve tırnakları düzeltin.",
        ),
        "IZIN-SIZE": (
            "the event cannot be carried: {what}",
            "Kayıt taşınamayacak kadar büyük ya da sözleşmeye uymuyor; alanları kısaltın.",
        ),
        "IZIN-TERM-ENDED": (
            "past its three business days: void unless İYS holds it; get a new consent",
            "Üç iş günü geçmiş; İYS'de kayıtlı değilse geçersizdir: yeni onay alın.",
        ),
        "IZIN-TWICE": (
            "{name} is given twice with different values; give it once",
            "Alan iki kez, farklı değerlerle gönderilmiş; bir kez gönderin.",
        ),
        "IZIN-TWO-RECIPIENTS": (
            "recipient and {other} differ; give one of them",
            "Alıcı iki ayrı alanda farklı verilmiş; yalnızca birini verin.",
        ),
        "IZIN-TYPE": (
            "the value must be text or a whole number; write it in quotes",
            "Değer metin ya da tam sayı olmalı; tırnak içinde gönderin.",
        ),
    }
)
"""Each code of the doors with its English and its Turkish reason, and places for what differs."""


def unknown_field(name: str) -> Violation:
    """Return the violation of a field that nobody knows."""
    return _violation(_shown(name), "H118")


def given_twice(name: str) -> Violation:
    """Return the violation of a field with two values."""
    return _violation(name, "IZIN-TWICE", name=name)


def wrong_type(name: str) -> Violation:
    """Return the violation of a field that is neither text nor a whole number."""
    return _violation(_shown(name), "IZIN-TYPE")


def wrong_evidence(longest: int) -> Violation:
    """Return the violation of evidence that cannot be carried."""
    return _violation("evidence", "IZIN-EVIDENCE", longest=longest)


def wrong_date_basis() -> Violation:
    """Return the violation of a date basis that is none."""
    return _violation("dateBasis", "IZIN-DATE-BASIS")


def term_ended() -> Violation:
    """Return what keeps İYS from registering an ONAY that came after its term."""
    return _violation("consent_date", "IZIN-TERM-ENDED")


def not_a_number(name: str, largest: int) -> Violation:
    """Return the violation of a number that is none, or out of its range."""
    return _violation(name, "IZIN-NOT-A-NUMBER", largest=largest)


def two_recipients(other: str | None) -> Violation:
    """Return the violation of a statement that names two recipients."""
    return _violation("recipient", "IZIN-TWO-RECIPIENTS", other=other)


def unknown_brand(error: UnknownBrandError) -> Violation:
    """Return the violation of a brand code that nobody registered."""
    return _violation("brand_code", "IZIN-BRAND-UNKNOWN", brand=error.brand_code)


def broken_row(what: str, width: int) -> Violation:
    """Return the violation of a row whose fields cannot be told apart."""
    return _violation("", "IZIN-ROW", what=what, width=width)


def too_large(error: SourceError) -> Violation:
    """Return the violation of an event that Kafka or the contract cannot carry."""
    return _violation("", "IZIN-SIZE", what=error)


def _violation(field: str, code: str, **known: object) -> Violation:
    reason, reason_tr = (text.format_map(known) for text in REASONS[code])
    return Violation(field=field, code=code, reason=reason, reason_tr=reason_tr)


def _shown(name: str) -> str:
    """Return a sender's own field name so that it can stand in an answer."""
    return "".join(one for one in name[:_SHOWN] if one.isalnum() or one in "_-")
