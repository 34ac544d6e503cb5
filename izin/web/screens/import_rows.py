"""The refused rows of an import: looked at, corrected in the page, and imported as rows of the same
file; or taken along as a file.
"""

import asyncio

from starlette.responses import Response

from izin.consent import clean
from izin.producers.files.corrections import ReportedRow
from izin.views.imports import ReportPage, read_report_page
from izin.web import pages
from izin.web.imports.store import ImportEdits, ImportStage, StoredImport
from izin.web.screens.imports import CHANGED, IMPORTS, ONE, OUTCOMES, found, start
from izin.web.screens.new_consent import OWN, named
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit

_SCREEN = "imports"
_FORM = 2**20
"""Bytes of a form with rows."""
_PAGES = {str(number): number for number in range(1, 100_000)}


async def show_rows(visit: Visit) -> Response:
    """Show refused rows as they are: a look, which the history has."""
    visit, stored = await found(visit)
    return await _shown(visit, stored, _PAGES.get(visit.form.get("page"), 1))


async def _shown(visit: Visit, stored: StoredImport, number: int) -> Response:
    page = await _page(visit, stored, number)
    await visit.look(_SCREEN, page.recipients)
    edits = stored.state.edits
    return visit.page(
        "import_rows.html",
        stored=stored,
        page=page,
        number=number,
        rows=[(row, _cells(row, edits), row.line in edits.rows) for row in page.rows],
        given_back=frozenset(edits.given_back),
        outcomes=OUTCOMES,
        sources=[named(visit, source) for source in OWN],
    )


async def _page(visit: Visit, stored: StoredImport, number: int) -> ReportPage:
    if stored.state.stage is not ImportStage.IMPORTED or visit.console.imports.find(stored.id):
        raise RefusedVisitError(409, CHANGED)
    return await asyncio.to_thread(
        read_report_page, stored.report, stored.state.how.columns, number
    )


def _cells(row: ReportedRow, edits: ImportEdits) -> tuple[str, ...]:
    """Return the cells of a row as a form has them: those that were corrected before as they are
    now; of a row that could not be separated none.
    """
    corrected = edits.rows.get(row.line)
    if corrected is None:
        corrected = ("",) * len(row.cells) if row.is_inseparable else row.shown
    return tuple(clean("".join(cell.splitlines())).strip() for cell in corrected)


async def correct(visit: Visit) -> Response:
    """Keep what was corrected on a page, and import all that was, or show the next page."""
    visit, stored = await found(visit)
    form, edits = visit.form, stored.state.edits
    number = _PAGES.get(form.get("page"), 1)
    page = await _page(visit, stored, number)
    posted, given_back = form.starting("cell-"), form.starting("back-")
    if not {one.partition("-")[0] for one in posted} <= {str(row.line) for row in page.rows}:
        raise RefusedVisitError(409, CHANGED)
    rows, back = dict(edits.rows), set(edits.given_back)
    for row in page.rows:
        before = _cells(row, edits)
        cells = [posted.get(f"{row.line}-{place}", cell) for place, cell in enumerate(before)]
        back -= set(row.event_ids)
        if str(row.line) in given_back:
            back |= set(row.event_ids)
        if tuple(cells) != _cells(row, ImportEdits()) or str(row.line) in given_back:
            rows[row.line] = tuple(cells)
        else:
            rows.pop(row.line, None)
    stored = stored.save(
        edits=ImportEdits(rows=rows, given_back=tuple(sorted(back))), changed_at=visit.now
    )
    match form.get("then"):
        case "import" if rows:
            start(visit, stored, ImportStage.CORRECTING)
        case "next":
            return await _shown(visit, stored, number + 1)
        case "back":
            return await _shown(visit, stored, max(number - 1, 1))
    return visit.redirect(f"{IMPORTS}/{stored.id}")


async def download(visit: Visit) -> Response:
    """Give the refused rows as a file, as Excel in Turkey opens it: a look at all of them."""
    visit, stored = await found(visit)
    if stored.state.stage is not ImportStage.IMPORTED or not stored.report.exists():
        raise RefusedVisitError(409, CHANGED)
    await visit.look(_SCREEN)
    content = await asyncio.to_thread(stored.report.read_bytes)
    headers = {
        **pages.HEADERS,
        "Content-Disposition": 'attachment; filename="izin-refused-rows.csv"',
    }
    return Response(content, media_type="text/csv", headers=headers)


SCREENS = (
    Screen(path=f"{ONE}/rows", run=show_rows, right=Permit.IMPORT, method="POST"),
    Screen(
        path=f"{ONE}/corrections",
        run=correct,
        right=Permit.IMPORT,
        method="POST",
        largest=_FORM,
    ),
    Screen(path=f"{ONE}/report", run=download, right=Permit.IMPORT, method="POST"),
)
