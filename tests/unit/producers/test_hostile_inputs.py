"""Ten thousand hostile events at the endpoint: no crash, and no neighbour harmed.

No row stops its neighbours, and no file the importer.
"""

import random
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from izin.consent import SourceError
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from izin.schemas.codec import Codec
from izin.streams.guard import AdmittedRecord, Guard
from tests.support.builders import BRAND
from tests.support.hostile.files import HEADER, hostile_files, hostile_rows
from tests.support.hostile.files import characters as characters_of_rows
from tests.support.hostile.inputs import FORM, JSON, HostileInputs, characters
from tests.support.order.harness import fetched
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.fakes import FakePublisher

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
