"""What can be wrong with how a statement is written, before the law looks at what it says.

İYS's code where it has one (H118); ``IZIN-…`` where it has none. The words say what would be right,
and never quote what was sent, for that may be a person's address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from izin.consent.model import Violation

if TYPE_CHECKING:
    from izin.consent.errors import SourceError
    from izin.producers.brands import UnknownBrandError

_SHOWN = 40

KNOWN_FIELDS = (
    "recipient (or phone, email), type, status, source, consentDate, recipientType, brandCode, "
    "ref, id, retailerCode, retailerAccess, noticeVersion, actor, sequence, correlationId, "
    "evidenceHash, evidence, dateBasis"
)


def unknown_field(name: str) -> Violation:
    """Return the violation of a field that nobody knows."""
    return Violation(
        field=_shown(name),
        code="H118",
        reason=f"no such field; leave it out or use one of: {KNOWN_FIELDS}",
        reason_tr="Bilinmeyen alan; gönderimden çıkarın ya da bilinen bir alan adı kullanın.",
    )


def given_twice(name: str) -> Violation:
    """Return the violation of a field with two values."""
    return Violation(
        field=name,
        code="IZIN-TWICE",
        reason=f"{name} is given twice with different values; give it once",
        reason_tr="Alan iki kez, farklı değerlerle gönderilmiş; bir kez gönderin.",
    )


def wrong_type(name: str) -> Violation:
    """Return the violation of a field that is neither text nor a whole number."""
    return Violation(
        field=_shown(name),
        code="IZIN-TYPE",
        reason="the value must be text or a whole number; write it in quotes",
        reason_tr="Değer metin ya da tam sayı olmalı; tırnak içinde gönderin.",
    )


def wrong_evidence(longest: int) -> Violation:
    """Return the violation of evidence that cannot be carried."""
    return Violation(
        field="evidence",
        code="IZIN-TYPE",
        reason=f"evidence must be an object of texts, {longest} characters in all; "
        "keep more elsewhere and send evidenceHash",
        reason_tr="Kanıt, metinlerden oluşan bir nesne olmalı; fazlasının özetini gönderin.",
    )


def not_a_number(name: str) -> Violation:
    """Return the violation of a number that is none, or too large."""
    return Violation(
        field=name,
        code="IZIN-NOT-A-NUMBER",
        reason=f"{name} is not a whole number; write it in digits",
        reason_tr="Tam sayı değil; yalnızca rakam kullanın.",
    )


def two_recipients(other: str | None) -> Violation:
    """Return the violation of a statement that names two recipients."""
    return Violation(
        field="recipient",
        code="IZIN-TWO-RECIPIENTS",
        reason=f"recipient and {other} differ; give one of them",
        reason_tr="Alıcı iki ayrı alanda farklı verilmiş; yalnızca birini verin.",
    )


def unknown_brand(error: UnknownBrandError) -> Violation:
    """Return the violation of a brand code that nobody registered."""
    return Violation(
        field="brand_code",
        code="IZIN-BRAND-UNKNOWN",
        reason=str(error),
        reason_tr=f"{error.brand_code} kodlu marka kayıtlı değil; düzeltin ya da markayı tanıtın.",
    )


def broken_row(what: str, width: int) -> Violation:
    """Return the violation of a row whose fields cannot be told apart."""
    return Violation(
        field="",
        code="IZIN-ROW",
        reason=f"the row cannot be told apart: {what}; correct quotes and delimiters",
        reason_tr=f"Satır {width} sütuna ayrılamıyor; ayraçları ve tırnakları düzeltin.",
    )


def too_large(error: SourceError) -> Violation:
    """Return the violation of an event that Kafka or the contract cannot carry."""
    return Violation(
        field="",
        code="IZIN-SIZE",
        reason=str(error),
        reason_tr="Kayıt taşınamayacak kadar büyük ya da sözleşmeye uymuyor; alanları kısaltın.",
    )


def _shown(name: str) -> str:
    """Return a sender's own field name so that it can stand in an answer."""
    return "".join(one for one in name[:_SHOWN] if one.isalnum() or one in "_-")
