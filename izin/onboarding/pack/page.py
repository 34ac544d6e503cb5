"""The application pack as a page to print and as a workbook, of the same tables, in Turkish."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from openpyxl import Workbook
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from izin.consent.due_dates import THRESHOLD, TURKEY
from izin.consent.model import Channel
from izin.consent.texts import visible
from izin.evidence.markup import fact_table, page, table
from izin.evidence.words import CHANNELS
from izin.onboarding.pack.application import (
    ApplicationPack,
    ChannelCount,
    ChecklistLine,
    ProviderCounts,
)

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
            columns=("İYS no", "Toplam adres", "150.000 sınırı", "Abonelik"),
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
    limit = "İYS göstermiyor" if one.limit is None else f"en fazla {number(one.limit)} adres"
    beyond = f"; {number(one.beyond_limit)} adres sığmaz (H525)" if one.beyond_limit else ""
    return [
        str(one.iys_code),
        one.addresses,
        _side(one.is_above_threshold),
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
    for one in tables_of(pack):
        yield f"<h2>{one.title}</h2>"
        yield f"<p>{one.note}</p>"
        yield table(one.columns, [[_text(cell) for cell in row] for row in one.rows])


def _text(cell: Cell) -> str:
    """Return a cell as Turkish writes it."""
    return number(cell) if isinstance(cell, int) else cell


_BOLD = Font(bold=True)
_WIDEST = 60


def workbook_of(pack: ApplicationPack) -> bytes:
    """Return the workbook."""
    book = Workbook()
    if book.active is not None:
        book.remove(book.active)
    _fill(book, "Başvuru", ("Bilgi", "Değer"), facts_of(pack))
    for one in tables_of(pack):
        _fill(book, one.title, one.columns, one.rows)
    target = BytesIO()
    book.save(target)
    return target.getvalue()


def _fill(
    book: Workbook, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    sheet = book.create_sheet(title)
    lines = [columns, *rows]
    for number, line in enumerate(lines, 1):
        for place, value in enumerate(line, 1):
            cell = sheet.cell(number, place, visible(value) if isinstance(value, str) else value)
            if isinstance(value, str):
                cell.data_type = "s"  # what looks like a formula stays a text
            if number == 1:
                cell.font = _BOLD
    for place, values in enumerate(zip(*lines, strict=True), 1):
        longest = max(len(str(value)) for value in values)
        sheet.column_dimensions[get_column_letter(place)].width = min(longest, _WIDEST) + 2
    sheet.freeze_panes = "A2"
