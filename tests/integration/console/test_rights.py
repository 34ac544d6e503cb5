"""The rights of a brand, kept from the command line."""

import asyncio
import json

import pytest

from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.db.migrate import migrate
from tests.integration.console.conftest import Izin
from tests.support.builders import BRAND

pytestmark = pytest.mark.database


@pytest.fixture
def registered(izin: Izin, ledger: str) -> str:
    """Give the code of a brand that is registered in a new ledger."""
    asyncio.run(migrate(LedgerSettings().database_url.get_secret_value()))
    izin("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
    return str(BRAND)


def shown(izin: Izin, brand: str) -> dict[str, str]:
    """Return what `show` says of each right."""
    rows = json.loads(izin("brands", "show", brand, "--output", "json").stdout)
    return {row["what"]: row["stands"] for row in rows if row["what"].startswith("right")}


def test_rights_are_told_first_and_kept_with_yes(izin: Izin, registered: str) -> None:
    """Listed, shown, and among the stops with who said it and the cure; given back, gone."""
    order = ("brands", "rights", registered, "--type", "MESAJ", "--type", "EPOSTA", "--by", "ada")
    told = izin(*order)
    assert (told.exit_code, "ARAMA: write -> no" in told.stderr) == (0, True)
    assert "--yes" in told.stderr
    assert izin("brands", "stops").exit_code == 0
    assert izin(*order, "--yes").exit_code == 0
    assert shown(izin, registered) == {
        "right to ARAMA": "no",
        "right to MESAJ": "write",
        "right to EPOSTA": "write",
    }
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["rights"] == "MESAJ EPOSTA"
    (stop,) = json.loads(izin("brands", "stops", "--output", "json").stdout)
    assert (stop["channel"], stop["recheck_at"]) == ("ARAMA", None)
    assert "by ada" in stop["why"]
    assert "izin brands rights" in stop["cure"]
    assert "stands so already" in izin(*order, "--yes").stderr
    assert izin("brands", "try", registered).exit_code == 3
    every = [word for one in ("ARAMA", "MESAJ", "EPOSTA") for word in ("--type", one)]
    assert "ARAMA: no -> write" in izin("brands", "rights", registered, *every, "--yes").stderr
    assert izin("brands", "stops").exit_code == 0


def test_a_brand_may_have_no_right_at_all(izin: Izin, registered: str) -> None:
    """Said in so many words, never by leaving the types out; a stranger is exit code 3."""
    assert izin("brands", "rights", "999", "--none").exit_code == 3
    assert izin("brands", "rights", registered, "--none", "--yes").exit_code == 0
    assert set(shown(izin, registered).values()) == {"no"}
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["rights"] == "none"
