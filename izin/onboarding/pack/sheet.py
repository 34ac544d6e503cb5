"""The application pack as a workbook: its tables, one a sheet; counts are numbers."""

from collections.abc import Sequence
from io import BytesIO

from openpyxl import Workbook
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from izin.consent.texts import visible
from izin.onboarding.pack.application import ApplicationPack
from izin.onboarding.pack.tables import Cell, facts_of, tables_of

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
