"""``izin brands suspend`` and ``resume``: what a person stops, from the command line."""

import asyncio
import json
from typing import Any

import pytest

from izin.ledger.db.migrate import migrate
from izin.runtime.settings import LedgerSettings
from tests.integration.cli.conftest import Izin
from tests.integration.cli.test_explain import KEY, store_history
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database

CODE = str(BRAND)
OTHER = ("brands", "add", "100009", "--iys-code=100001", "--customer=acme", "--name=Two")


@pytest.fixture
def registered(izin: Izin, ledger: str) -> None:
    """Register a brand in a new ledger that has the history of a recipient of it."""
    assert ledger
    asyncio.run(migrate(LedgerSettings().database_url.get_secret_value()))
    store_history()
    add = ("brands", "add", CODE, "--iys-code=100001", "--customer=acme", "--name=One")
    assert izin(*add).exit_code == 0


def listed(izin: Izin) -> dict[int, str]:
    """Return what `list` prints as suspended, by brand."""
    rows: list[dict[str, Any]] = json.loads(izin("brands", "list", "--output", "json").stdout)
    return {row["brand_code"]: row["suspended"] for row in rows}


@pytest.mark.usefixtures("registered")
def test_brands_suspend_acts_with_yes_only_and_is_shown(izin: Izin) -> None:
    """With its reason, who ordered it and the command that ends it."""
    order = ("brands", "suspend", CODE, "--reason", "wrong list", "--by", "ada")
    done = izin(*order)
    assert done.exit_code == 0
    for words in ("iys: not suspended", "gate: not suspended", "wait to be sent", "--execute"):
        assert words in done.stderr
    assert listed(izin) == {BRAND: ""}
    assert f"brand {CODE} is suspended" in izin(*order, "--execute").stderr
    assert listed(izin) == {BRAND: "gate iys"}
    rows = json.loads(izin("brands", "show", CODE, "--output", "json").stdout)
    shown = {row["field"]: row for row in rows}
    for field, part in (("calls to İYS", "iys"), ("gate", "gate")):
        assert shown[field]["value"] == "suspended: wrong list"
        assert "by ada" in shown[field]["warning"]
        assert f"izin brands resume {CODE} --what {part}" in shown[field]["warning"]
    assert shown["right to MESAJ"]["value"] == "write"
    (one,) = json.loads(izin("brands", "suspensions", "--output", "json").stdout)
    assert (one["reason"], one["retry_at"]) == ("wrong list", None)
    assert f"izin brands resume {CODE}" in one["remedy"]
    explained = izin("explain", KEY)
    assert "suspended, wrong list" in explained.stdout.replace("\n", " ")
    assert "suspend brand (by ada)" in " ".join(explained.stdout.split())
    printed = json.loads(izin("explain", PHONE, "--output", "json").stdout)
    assert printed["keys"][0]["gate_suspended"] == "wrong list"


@pytest.mark.usefixtures("registered")
def test_brands_resume_ends_the_order_that_it_names(izin: Izin) -> None:
    """An order on the customer is another one, and covers a brand that is added later."""
    for target in ((CODE,), ("--customer", "acme")):
        assert izin("brands", "suspend", *target, "--reason=court", "--execute").exit_code == 0
    assert izin(*OTHER).exit_code == 0
    assert listed(izin) == {BRAND: "gate iys", 100009: "gate iys"}
    refused = izin("brands", "resume", "100009", "--execute")
    assert refused.exit_code == 3
    assert "izin brands resume --customer acme" in " ".join(refused.stderr.split())
    done = izin("brands", "resume", CODE, "--what", "gate")
    assert f"gate: brand {CODE} stays suspended" in done.stderr
    assert izin("brands", "resume", CODE, "--what", "gate", "--execute").exit_code == 0
    assert listed(izin) == {BRAND: "gate iys", 100009: "gate iys"}
    assert izin("brands", "resume", "--customer", "acme", "--execute").exit_code == 0
    assert listed(izin) == {BRAND: "iys", 100009: ""}


@pytest.mark.usefixtures("registered")
def test_brands_suspend_refuses_what_is_not_registered(izin: Izin) -> None:
    """Exit code 3; without a target, with two or without a reason it is wrong usage."""
    because = ("--reason=court", "--execute")
    assert izin("brands", "suspend", "999", *because).exit_code == 3
    assert izin("brands", "suspend", "--customer", "nobody", *because).exit_code == 3
    assert izin("brands", "suspend", *because).exit_code == 2
    assert izin("brands", "suspend", CODE, "--customer", "acme", *because).exit_code == 2
    assert izin("brands", "suspend", CODE, "--execute").exit_code == 2
    assert izin("brands", "resume", CODE, "--execute").exit_code == 3
