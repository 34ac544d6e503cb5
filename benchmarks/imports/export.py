"""The same export as a CSV file and as a workbook: nine columns, one opt-out in three rows.

The workbook is as Excel writes it: texts are shared, numbers and dates are numbers with a style.
Rows are made one at a time, so that a million take no memory.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, ZipFile

BRAND = 600_001
HEADER = (
    *("TELEFON", "E-POSTA", "İZİN TÜRÜ", "İZİN DURUMU", "İZİN KAYNAĞI", "İZİN TARİHİ"),
    *("ALICI TİPİ", "MARKA", "REFERANS"),
)
_DATE_COLUMN, _BRAND_COLUMN = 5, 7
_OPT_OUT_EVERY = 3
_SPREAD = 2 * 86_400
_DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001  # a workbook's dates have no zone
_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENTS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGES = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"


class ExportRow(NamedTuple):
    """One consent, as people write it."""

    phone: str
    status: str
    at: datetime
    reference: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Its cells as a CSV file has them."""
        date = f"{self.at:%d.%m.%Y %H:%M:%S}"
        start = (self.phone, "", "SMS", self.status, "HS_WEB", date)
        return (*start, "BİREYSEL", str(BRAND), self.reference)


def export_rows(count: int, until: datetime) -> Iterator[ExportRow]:
    """Yield ``count`` rows of the two days before ``until``, Turkish time without an offset."""
    for number in range(count):
        status = "HAYIR" if number % _OPT_OUT_EVERY == 0 else "ONAY"
        digits = f"{number:07d}"
        phone = f"0555 {digits[:3]} {digits[3:5]} {digits[5:]}"
        at = until - timedelta(seconds=number % _SPREAD)
        # At midnight a workbook's date would have no time of day.
        at = at.replace(second=at.second | 1)
        yield ExportRow(phone, status, at, f"CRM-{number}")


def opt_outs(count: int) -> int:
    """Return how many of ``count`` rows are opt-outs."""
    return -(-count // _OPT_OUT_EVERY)


def write_csv(path: Path, count: int, until: datetime) -> None:
    """Write the export as a CSV file."""
    with path.open("w", encoding="utf-8-sig", newline="\r\n") as out:
        out.write(";".join(HEADER) + "\n")
        out.writelines(";".join(row.cells) + "\n" for row in export_rows(count, until))


def write_workbook(path: Path, count: int, until: datetime) -> None:
    """Write the export as a workbook."""
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in _PARTS.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
        shared: dict[str, int] = {}
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f'<worksheet xmlns="{_NAMESPACE}"><sheetData>'.encode())
            sheet.write(_sheet_row(1, HEADER, None, shared).encode())
            for number, row in enumerate(export_rows(count, until), 2):
                sheet.write(_sheet_row(number, row.cells, row.at, shared).encode())
            sheet.write(b"</sheetData></worksheet>")
        with archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as texts:
            texts.write(f'<sst xmlns="{_NAMESPACE}">'.encode())
            for text in shared:
                texts.write(f"<si><t>{escape(text)}</t></si>".encode())
            texts.write(b"</sst>")


def _sheet_row(
    number: int, cells: tuple[str, ...], at: datetime | None, shared: dict[str, int]
) -> str:
    parts = []
    for place, cell in enumerate(cells):
        name = f"{chr(65 + place)}{number}"
        if at is not None and place == _DATE_COLUMN:
            parts.append(f'<c r="{name}" s="1"><v>{(at - _DAY_ZERO) / timedelta(days=1)}</v></c>')
        elif at is not None and place == _BRAND_COLUMN:
            parts.append(f'<c r="{name}"><v>{cell}</v></c>')
        elif cell:
            parts.append(f'<c r="{name}" t="s"><v>{shared.setdefault(cell, len(shared))}</v></c>')
    return f'<row r="{number}">{"".join(parts)}</row>'


_PARTS = {
    "[Content_Types].xml": (
        f'<Types xmlns="{_PACKAGES}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/>'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPES}.worksheet+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPES}.sharedStrings+xml"/>'
        "</Types>"
    ),
    "_rels/.rels": (
        f'<Relationships xmlns="{_PACKAGES}/relationships"><Relationship Id="rId1" '
        f'Type="{_DOCUMENTS}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    ),
    "xl/workbook.xml": (
        f'<workbook xmlns="{_NAMESPACE}" xmlns:r="{_DOCUMENTS}"><sheets>'
        '<sheet name="Sayfa1" sheetId="1" r:id="rId1"/></sheets></workbook>'
    ),
    "xl/_rels/workbook.xml.rels": (
        f'<Relationships xmlns="{_PACKAGES}/relationships">'
        f'<Relationship Id="rId1" Type="{_DOCUMENTS}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_DOCUMENTS}/styles" Target="styles.xml"/>'
        f'<Relationship Id="rId3" Type="{_DOCUMENTS}/sharedStrings" Target="sharedStrings.xml"/>'
        "</Relationships>"
    ),
    "xl/styles.xml": (
        f'<styleSheet xmlns="{_NAMESPACE}">'
        '<numFmts count="1"><numFmt numFmtId="164" formatCode="dd.mm.yyyy hh:mm:ss"/></numFmts>'
        '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="164" applyNumberFormat="1"/></cellXfs>'
        "</styleSheet>"
    ),
}
