"""``izin brands rights``: the rights of a brand, set from the command line."""

import asyncio
import json

import pytest

from izin.ledger.db.migrate import migrate
from izin.runtime.settings import LedgerSettings
from tests.integration.cli.conftest import Izin
from tests.support.builders import BRAND

pytestmark = pytest.mark.database


@pytest.fixture
def registered(izin: Izin, ledger: str) -> str:
    """Return the code of a brand that is registered in a new ledger."""
    asyncio.run(migrate(LedgerSettings().database_url.get_secret_value()))
    izin("customers", "add", "acme", "--name=Acme")
    izin("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
    return str(BRAND)


def shown(izin: Izin, brand: str) -> dict[str, str]:
    """Return what `show` prints of each right."""
    rows = json.loads(izin("brands", "show", brand, "--output", "json").stdout)
    return {row["field"]: row["value"] for row in rows if row["field"].startswith("right")}


def test_brands_rights_acts_with_yes_only(izin: Izin, registered: str) -> None:
    """It is listed, also as a suspension with its author and remedy; given back, it is gone."""
    order = ("brands", "rights", registered, "--type", "MESAJ", "--type", "EPOSTA", "--by", "ada")
    printed = izin(*order)
    assert (printed.exit_code, "ARAMA: write -> no" in printed.stderr) == (0, True)
    assert "--execute" in printed.stderr
    assert izin("brands", "suspensions").exit_code == 0
    assert izin(*order, "--execute").exit_code == 0
    assert shown(izin, registered) == {
        "right to ARAMA": "no",
        "right to MESAJ": "write",
        "right to EPOSTA": "write",
    }
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["rights"] == "MESAJ EPOSTA"
    (suspension,) = json.loads(izin("brands", "suspensions", "--output", "json").stdout)
    assert (suspension["channel"], suspension["retry_at"]) == ("ARAMA", None)
    assert "by ada" in suspension["reason"]
    assert "izin brands rights" in suspension["remedy"]
    assert "has these rights already" in izin(*order, "--execute").stderr
    assert izin("brands", "retry", registered).exit_code == 3
    every = [word for one in ("ARAMA", "MESAJ", "EPOSTA") for word in ("--type", one)]
    assert "ARAMA: no -> write" in izin("brands", "rights", registered, *every, "--execute").stderr
    assert izin("brands", "suspensions").exit_code == 0


def test_brands_rights_none_takes_every_right(izin: Izin, registered: str) -> None:
    """With --none, never by leaving the channels out; an unknown brand is exit code 3."""
    assert izin("brands", "rights", "999", "--none").exit_code == 3
    assert izin("brands", "rights", registered, "--none", "--execute").exit_code == 0
    assert set(shown(izin, registered).values()) == {"no"}
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["rights"] == "none"
