"""``izin brands suspend`` and ``resume``: what a person stops, from the command line.

``izin brands rights``: the rights of a brand, set from the command line.
"""

import json
from typing import Any

import pytest

from tests.integration.cli.conftest import Izin, ended
from tests.integration.cli.test_explain import KEY, store_history
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database

CODE = str(BRAND)
OTHER = ("brands", "add", "100009", "--iys-code=100001", "--customer=acme", "--name=Two")


@pytest.fixture
def registered(izin: Izin, ledger: str) -> None:
    """Register a brand in a new ledger that has the history of a recipient of it."""
    assert ledger
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
    done = ended(izin(*order), 0)
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
    ended(izin("brands", "resume", "100009", "--execute"), 3, "izin brands resume --customer acme")
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


def rights(izin: Izin) -> dict[str, str]:
    """Return what `show` prints of each right."""
    rows = json.loads(izin("brands", "show", CODE, "--output", "json").stdout)
    return {row["field"]: row["value"] for row in rows if row["field"].startswith("right")}


@pytest.mark.usefixtures("registered")
def test_brands_rights_acts_with_yes_only(izin: Izin) -> None:
    """It is listed, also as a suspension with its author and remedy; given back, it is gone."""
    order = ("brands", "rights", CODE, "--type", "MESAJ", "--type", "EPOSTA", "--by", "ada")
    ended(izin(*order), 0, "ARAMA: write -> no", "--execute")
    assert izin(*order, "--execute").exit_code == 0
    assert rights(izin) == {
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
    assert izin("brands", "retry", CODE).exit_code == 3
    every = [word for one in ("ARAMA", "MESAJ", "EPOSTA") for word in ("--type", one)]
    assert "ARAMA: no -> write" in izin("brands", "rights", CODE, *every, "--execute").stderr
    assert izin("brands", "suspensions").exit_code == 0


@pytest.mark.usefixtures("registered")
def test_brands_rights_none_takes_every_right(izin: Izin) -> None:
    """With --none, never by leaving the channels out."""
    assert izin("brands", "rights", CODE, "--none", "--execute").exit_code == 0
    assert set(rights(izin).values()) == {"no"}
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["rights"] == "none"
