"""The application pack to print: one page in Turkish, with the frame of ``evidence.markup``."""

from collections.abc import Iterator

from izin.consent.due_dates import TURKEY
from izin.evidence.markup import fact_table, page, table
from izin.onboarding.pack.application import ApplicationPack
from izin.onboarding.pack.tables import Cell, facts_of, number, tables_of


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
