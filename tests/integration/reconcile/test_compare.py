"""The suppression list of another tool beside our opt-outs, by the commands of
``docs/reconciling.md``.
"""

import csv
import json
from pathlib import Path

import pytest
from openpyxl import Workbook
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.ledger.db import Ledger
from tests.integration.sinks.sink_harness import Izin, a_phone
from tests.support.builders import BRAND

pytestmark = pytest.mark.database

FILL = """INSERT INTO consents (key, customer_id, brand_code, channel, recipient_type, recipient,
    desired_status, desired_event_id, desired_at, registrable, attested, registered, state, action,
    attempts, onay_open, ret_open, may_send, updated_at)
SELECT concat_ws('/', %(brand)s, 'MESAJ', 'BIREYSEL', r.recipient), 'acme', %(brand)s, 'MESAJ',
    'BIREYSEL', r.recipient, r.status, 'event', now(), true, false, r.registered, 'not_needed',
    'nothing', 0, false, false, false, now()
FROM unnest(%(recipients)s::text[], %(statuses)s::text[], %(registered)s::text[])
    AS r (recipient, status, registered) RETURNING key"""
BOTH, HERE, AT_IYS, THERE, NOBODY = map(a_phone, range(1, 6))
LIST = f"Ad;Telefon\nAda;{BOTH}\nAda;0{THERE[3:]}\nAda;{NOBODY}\nAda;{NOBODY}\nAda;kimse\n"
WORDS = ("--brand", BRAND, "--type", "MESAJ")


@pytest.fixture
async def opted_out(ledger: Ledger) -> None:
    """Have three recipients opted out, one of them at İYS alone, and one opted in."""
    values = {
        "brand": BRAND,
        "recipients": [BOTH, HERE, AT_IYS, THERE],
        "statuses": ["RET", "RET", "ONAY", "ONAY"],
        "registered": ["RET", "NONE", "RET", "ONAY"],
    }
    assert await ledger.fetch(FILL, values)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the list that a tool has exported."""
    path = tmp_path / "list.csv"
    path.write_text(LIST, "utf-8")
    return path


async def test_both_sides_are_named_and_files_written(
    izin: Izin, opted_out: None, path: Path, tmp_path: Path
) -> None:
    """Whom the tool lacks comes first; nothing is published; recipients are masked, and whoever
    only the tool has becomes an event by a person's statement alone.
    """
    add, events = tmp_path / "missing.csv", tmp_path / "optouts.csv"
    files = ("--for-tool", add, "--for-import", events, "--source", "HS_MESAJ")
    result = await izin("subscribers", "compare", path, *WORDS, *files, "--output", "json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    counts = ("opted_out_here", "in_both", "listed", "missing_there", "missing_here")
    assert [found[name] for name in counts] == [3, 1, 4, 2, 2]
    assert found["unreadable"] == [6]
    assert [one["side"].partition(",")[0] for one in found["differences"]] == [
        *("here", "here", "in the list", "in the list")
    ]
    assert HERE not in result.stdout
    assert add.read_text("utf-8").split() == ["Telefon", HERE, AT_IYS]
    assert add.stat().st_mode & 0o777 == 0o600
    with events.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(one["recipient"], one["status"], one["source"]) for one in rows] == [
        (THERE, "RET", "HS_MESAJ"),
        (NOBODY, "RET", "HS_MESAJ"),
    ]
    assert {one["consentDate"] for one in rows} == {""}


async def test_lists_that_agree_exit_with_zero(izin: Izin, opted_out: None, tmp_path: Path) -> None:
    """A workbook is read as a text file is."""
    book = Workbook()
    for line in (["Telefon"], [BOTH], [HERE], [AT_IYS]):
        book.active.append(line)
    path = tmp_path / "list.xlsx"
    book.save(path)
    result = await izin("subscribers", "compare", path, *WORDS)
    assert (result.exit_code, "none" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    "given", [("--for-import", "x.csv"), ("--source", "HS_MESAJ"), ("--for-tool", "")]
)
def test_choices_that_contradict_are_wrong_usage(path: Path, given: tuple[str, str]) -> None:
    """Nobody states a source for nothing, and the list itself is not written over."""
    option, value = given
    words = ["subscribers", "compare", str(path), *map(str, WORDS), option, value or str(path)]
    assert CliRunner().invoke(app, words).exit_code == 2
    assert path.read_text("utf-8") == LIST
