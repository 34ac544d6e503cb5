"""The tables of the application pack, in Turkish: the page prints them, the workbook has them."""

from collections.abc import Sequence
from dataclasses import dataclass

from izin.consent.due_dates import THRESHOLD, TURKEY
from izin.consent.model import Channel
from izin.evidence.words import CHANNELS
from izin.onboarding.pack.application import ApplicationPack, ProviderCounts
from izin.onboarding.pack.checklist import ChecklistLine
from izin.onboarding.pack.counts import ChannelCount

Cell = str | int
_KINDS = {
    "legal": "tüzel kişi",
    "merchant": "gerçek kişi, tacir",
    "craftsman": "gerçek kişi, esnaf",
    "other": "gerçek kişi, diğer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackTable:
    """A table of the pack."""

    title: str
    note: str
    """What its numbers mean."""
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]


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


def tables_of(pack: ApplicationPack) -> list[PackTable]:
    """Return the tables in their order."""
    return [
        PackTable(
            title="Adres sayıları",
            note="Bir telefon numarası veya e-posta adresi, kaç kanalda izni olursa olsun, markada "
            "bir kez sayılır.",
            columns=("Marka", "Telefon", "E-posta", "Toplam adres", "150.000 sınırı"),
            rows=[_brand_row(pack, code) for code in pack.brands],
        ),
        PackTable(
            title="İleti paketi",
            note="Paket, hizmet sağlayıcının bütün markalarındaki adreslere göredir. Sınırın "
            "üzerindeki adresler İYS'ye kaydedilemez (H525).",
            columns=("İYS no", "Toplam adres", "150.000 sınırı", "Paket", "Kaynak", "Abonelik"),
            rows=[_provider_row(one) for one in pack.providers],
        ),
        PackTable(
            title="Kanallara göre izinler",
            note="Kaydedilecek: İYS'de henüz olmayan geçerli onaylar. Geçersiz: süresinde "
            "kaydedilmeyen onaylar.",
            columns=("Marka", "Kanal", "İYS'de onay", "İYS'de ret", "Kaydedilecek", "Geçersiz"),
            rows=[_channel_row(pack, code, channel) for code in pack.brands for channel in Channel],
        ),
        PackTable(
            title="Başvuru belgeleri",
            note="Eksik olanlar başvurudan önce tamamlanır.",
            columns=("Belge/bilgi", "Verilen", "Veren", "Durum"),
            rows=[_checklist_row(one) for one in pack.checklist],
        ),
    ]


def _brand_row(pack: ApplicationPack, code: int) -> list[Cell]:
    one = pack.counts[code].addresses
    return [_brand(pack, code), one.phones, one.emails, one.total, _side(one.total > THRESHOLD)]


def _provider_row(one: ProviderCounts) -> list[Cell]:
    package = ("bilinmiyor", "–") if one.package is None else (one.package.name, one.package.source)
    limit = "İYS göstermiyor" if one.limit is None else f"en fazla {number(one.limit)} adres"
    beyond = f"; {number(one.beyond_limit)} adres sığmaz (H525)" if one.beyond_limit else ""
    return [
        str(one.iys_code),
        one.addresses,
        _side(one.is_above_threshold),
        *package,
        limit + beyond,
    ]


def _channel_row(pack: ApplicationPack, code: int, channel: Channel) -> list[Cell]:
    one = pack.counts[code].channels.get(channel, ChannelCount())
    return [
        _brand(pack, code),
        CHANNELS[channel],
        one.held,
        one.opted_out,
        one.waiting,
        one.void,
    ]


def _checklist_row(one: ChecklistLine) -> list[Cell]:
    brand = "" if one.brand_code is None else f", marka {one.brand_code}"
    given = "" if one.given_at is None else f", {one.given_at.astimezone(TURKEY):%d.%m.%Y}"
    state = "EKSİK" if one.is_missing else "var" if one.value else "gerekmiyor"
    return [f"{one.title_tr}{brand}", one.value_tr or "–", f"{one.given_by or '–'}{given}", state]


def _brand(pack: ApplicationPack, code: int) -> str:
    return f"{pack.brands[code].name} ({code})"


def _side(is_above: bool) -> str:
    return "üzerinde" if is_above else "altında veya eşit"
