"""Ten thousand hostile events at the endpoint: no crash, and no neighbour harmed.

No row stops its neighbours, and no file the importer.

Exports as people have them: every row is read as a person would, or refused with a reason.

A short run of malformed files; the long one is ``make chaos STAGE=files``.
"""

import random
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from benchmarks.results import publish
from izin.consent import SourceError
from izin.producers.files import ColumnChoices, ImportReport, workbook
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from izin.schemas.codec import Codec
from izin.streams.guard import AdmittedRecord, Guard
from tests.chaos.files import __main__ as campaign
from tests.chaos.files.__main__ import FilesVerdict, report
from tests.support.builders import BRAND
from tests.support.hostile import nasty_export
from tests.support.hostile.files import (
    HEADER,
    characters as characters_of_rows,
    hostile_files,
    hostile_rows,
)
from tests.support.hostile.inputs import FORM, JSON, HostileInputs, characters
from tests.support.hostile.nasty_export import ExpectedConsent, NastyTruth
from tests.support.order.harness import fetched
from tests.unit.producers.conftest import NOW, FakePublisher, ImportOf, reported

RUNS, REQUESTS, RECORDS = 5, 700, 4
"""Of the records in a request all but one are hostile."""
ROWS, FILES = 6000, 400
IN_A_FILE = 60
RULES = DateRules(excel_epoch=ExcelEpoch.FROM_1900)


async def post(client: httpx.AsyncClient, body: bytes, media_type: str = JSON) -> httpx.Response:
    """Post, and check what holds of every response."""
    answer = await client.post("/v1/consents", content=body, headers={"Content-Type": media_type})
    assert answer.status_code in {202, 400, 413, 415, 422}, answer.text
    assert answer.json()
    return answer


def a_ret(number: int) -> dict[str, Any]:
    """Return a valid RET."""
    return HostileInputs.a_record("RET") | {"origin_ref": f"valid-{number}"}


@pytest.mark.parametrize("seed", range(RUNS))
async def test_hostile_records_harm_no_ret(
    client: httpx.AsyncClient, fake: FakePublisher, seed: int
):
    """A valid RET among them is always published, and so is any whose key can be read."""
    made, guard = HostileInputs(seed), Guard(Codec())
    for number in range(REQUESTS):
        records = [made.record() for _ in range(RECORDS - 2)]
        records += [made.ret(), a_ret(number)]
        body = made.body(records)
        events = (await post(client, body)).json()["events"]
        assert [one["index"] for one in events][-2:] == [RECORDS - 2, RECORDS - 1]
        assert fake.events[-1].origin_ref == f"valid-{number}"
    for one in fake.frames:
        # What was answered with 202 is no dead letter later.
        assert isinstance(guard.admit(fetched(value=one.value)), AdmittedRecord)


@pytest.mark.parametrize("seed", range(RUNS))
async def test_broken_bodies_harm_no_ret(client: httpx.AsyncClient, fake: FakePublisher, seed: int):
    """Neither do forms, nor other content types; the next request is a valid RET."""
    made = HostileInputs(seed)
    for number in range(REQUESTS // 5):
        for body in (made.body([made.record()]), made.form(made.record())):
            await post(client, made.broken(body), JSON)
            await post(client, made.broken(body), FORM)
        assert (await post(client, made.form(made.ret()), FORM)).status_code == 202
        assert (await post(client, made.body([made.ret()]))).status_code == 202
        assert (await post(client, made.body([a_ret(number)]))).status_code == 202
        assert fake.events[-1].origin_ref == f"valid-{number}"


def test_hostile_inputs_are_repeatable_and_of_every_kind():
    """The same seed gives the same inputs, and no Unicode category is missing."""
    assert HostileInputs(1).record() == HostileInputs(1).record()
    assert HostileInputs(1).event() == HostileInputs(1).event()
    categories = {unicodedata.category(chr(one)) for one in range(sys.maxunicode + 1)}
    assert set(characters()) == categories


def an_opt_out(number: int, chance: random.Random) -> str:
    """Return a valid row in one of its notations."""
    phone = chance.choice(("0{0}", '="0{0}"', '"0{0}"', "'0{0}")).format(f"556{number:07}")
    status, note = chance.choice(("RET", "H", "HAYIR")), chance.choice(('""', "", '"a;b"', "ığüş"))
    return f"{phone};SMS;{status};HS_WEB;02.03.2026 10:00:00;{BRAND};{note}"


def a_file(rows: Sequence[bytes], first: int) -> bytes:
    """Return a file of hostile ``rows``, each between two opt-outs, numbered from ``first``."""
    chance = random.Random(first)
    encoding = chance.choice(("utf-8", "cp1254"))
    lines = [HEADER.encode(encoding)]
    for number, row in enumerate(rows, first):
        lines += [an_opt_out(number, chance).encode(encoding), row]
    lines.append(an_opt_out(first + len(rows), chance).encode(encoding))
    return chance.choice((b"\r\n", b"\n")).join(lines)


def test_hostile_rows_stop_no_opt_out_between_them(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher
):
    """Whatever stands before and behind an opt-out, it is published, and each row is counted."""
    assert {
        "Cc",
        "Cf",
        "Cn",
        "Co",
        "Cs",
        "Lo",
        "Mn",
        "Nd",
        "So",
        "Zl",
    } <= characters_of_rows().keys()
    path, rows = tmp_path / "hostile.csv", list(hostile_rows(ROWS, seed=30))
    for first in range(0, ROWS, IN_A_FILE):
        fake.events.clear()
        content = a_file(rows[first : first + IN_A_FILE], first)
        path.write_bytes(content)
        report = import_of(path, dates=RULES)
        taken = {one.recipient for one in fake.events if one.status == "RET"}
        expected = {f"+90556{number:07}" for number in range(first, first + IN_A_FILE + 1)}
        assert expected - taken == set(), content[:200]
        assert report.published + report.refused == report.rows


def test_hostile_file_is_imported_or_refused_as_a_whole(tmp_path: Path, import_of: ImportOf):
    """With an error that its source can act on, never with one of ours."""
    path, refused = tmp_path / "hostile.csv", 0
    for content in hostile_files(FILES, seed=30):
        path.write_bytes(content)
        try:
            import_of(path, dates=RULES)
        except SourceError:
            refused += 1
    assert 0 < refused < FILES


NASTY_ROWS, WORKBOOK_ROWS, CUSTOMERS = 5000, 700, 500
CHOICES = ColumnChoices(
    mapped=nasty_export.MAPPED, ignored=nasty_export.IGNORED, values=nasty_export.VALUES
)
WIDE = ColumnChoices(
    mapped=nasty_export.MAPPED,
    ignored=nasty_export.IGNORED,
    values=nasty_export.VALUES,
    given={"marka": str(BRAND)},
)


def a_list(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_csv(path, rows=NASTY_ROWS, brand=BRAND, now=now)


def a_workbook(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_workbook(path, rows=WORKBOOK_ROWS, brand=BRAND, now=now)


def customers(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_wide(path, rows=CUSTOMERS, now=now)


@pytest.mark.parametrize(
    ("write", "choices", "encoding"),
    [
        (a_list, CHOICES, "cp1254"),
        (a_workbook, CHOICES, "xlsx"),
        (customers, WIDE, "utf-16-le"),
    ],
)
def test_nasty_export_is_read_as_a_person_would(  # noqa: PLR0917  # fixtures and cases
    tmp_path: Path,
    fake: FakePublisher,
    import_of: ImportOf,
    write: Callable[[Path, datetime], NastyTruth],
    choices: ColumnChoices,
    encoding: str,
):
    """Row by row: the recipient, channel, status, instant and source that the generator meant."""
    path = tmp_path / "liste"
    truth = write(path, NOW)
    report = import_of(path, columns=replace(choices, header_row=truth.header_line))
    assert report.encoding == encoding
    counts = (report.header_line, report.rows, report.repeated_headers)
    assert counts == (truth.header_line, truth.rows, truth.repeated_headers)
    found = {
        ExpectedConsent(
            line=one.row or 0,
            type=one.type,
            recipient=one.recipient,
            status=one.status,
            at=one.consent_date,
            source=one.source or "",
        )
        for one in fake.events
    }
    assert found == {one._replace(at=one.at and one.at.astimezone(UTC)) for one in truth.consents}
    assert len(fake.events) == len(truth.consents) == report.published
    check_report(report, truth)


def check_report(report: ImportReport, truth: NastyTruth) -> None:
    """Check that the report has a reason for each row that a person cannot read, and no other."""
    lines = reported(report)
    assert all(
        one["izin: neden"] and one["izin: reason"] and one["izin: kod/code"] for one in lines
    )
    unread = [one for one in lines if "not imported" in one["izin: sonuç/outcome"]]
    refused = {place for one in unread for place in _places(one)}
    assert refused == {(one.line, one.column) for one in truth.refused}
    published = [one for one in lines if "published" in one["izin: sonuç/outcome"]]
    assert {int(one["izin: satır/row"]) for one in published} == truth.undated
    # Nobody can read the recipients of these opt-outs.
    assert report.refused_opt_outs == sum(one.status == "RET" for one in truth.refused)
    assert report.refused_unclear == sum(one.status == "" for one in truth.refused)


def _places(line: dict[str, str]) -> list[tuple[int, str]]:
    number = int(line["izin: satır/row"])
    return [(number, column) for column in line["izin: sütun/column"].split(", ")]


MALFORMED, BOOK_EVERY = 200, 16


def test_malformed_files_are_imported_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Never an error that is no source's, and never more memory than allowed."""
    monkeypatch.setattr(workbook, "_MOST_MEMORY", 128 * 2**20)
    found = campaign.run(tmp_path, files=MALFORMED, seed=21, book_every=BOOK_EVERY)
    assert (found.failures, found.violations) == ([], 0)
    assert found.imported + found.refused == MALFORMED
    assert found.imported
    assert found.refused


def test_error_of_ours_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The campaign sees it, and says which file it was; the first one has no import."""
    monkeypatch.setattr(campaign, "import_file", Mock(side_effect=RuntimeError("broken")))
    found = campaign.run(tmp_path, files=2, seed=21)
    assert found.violations == 1
    assert found.failures[0].startswith("file 1 of seed 21, ")
    results = tmp_path / "result.json"
    assert publish(report(found, seed=21, seconds=1), bars=["files"], results=results) == 1
    assert "RuntimeError: broken" in results.read_text()


def test_memory_beyond_its_bound_is_a_violation():
    """Of all files together."""
    verdict = FilesVerdict(files=1, imported=1, refused=0, megabytes=campaign.MOST_MEGABYTES + 1)
    assert verdict.violations == 1
