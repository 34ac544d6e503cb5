"""``izin customers``, ``izin keys`` and ``izin brands`` on a real ledger: keys, rights, and what
a person suspends.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.ledger.db.migrate import migrate
from izin.runtime.settings import LedgerSettings
from izin.schemas.api_keys import presented
from tests.integration.cli.conftest import Izin, acts, ended, execute
from tests.integration.cli.test_explain import KEY, REGISTER, store_history
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database

CREATE = ("keys", "create", "shop", "--scope=publish", "--customer=acme")


@pytest.fixture
def registered(izin: Izin, ledger: str) -> str:
    """Return a new ledger with a customer and a brand."""
    asyncio.run(migrate(LedgerSettings().database_url.get_secret_value()))
    assert izin("customers", "add", "acme", "--name=Acme").exit_code == 0
    assert izin(*REGISTER).exit_code == 0
    return ledger


def keys(izin: Izin) -> list[dict[str, Any]]:
    """Return the keys that are listed."""
    return list(json.loads(izin("keys", "list", "--output", "json").stdout))


def test_brands_add_takes_no_brand_of_others(izin: Izin, registered: str) -> None:
    """An unknown customer is refused with the remedy, before anything is stored; another's brand
    moves where its customer is named.
    """
    order = ("brands", "add", "100002", "--iys-code=100001", "--customer=beta", "--name=Two")
    ended(izin(*order), 3, "izin customers add beta")
    moved = ("brands", "add", str(BRAND), "--iys-code=100001", "--customer=beta", "--name=One")
    assert izin(*moved).exit_code == 3
    assert len(json.loads(izin("brands", "list", "--output", "json").stdout)) == 1
    assert izin("customers", "add", "beta", "--name=Beta").exit_code == 0
    for wrong in ((), ("--from=beta",)):
        assert "acme" not in ended(izin(*moved, *wrong, "--execute"), 3, "with --from").stderr
    assert izin(*moved, "--from=acme", "--execute").exit_code == 0
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["customer_id"] == "beta"


def test_customers_are_listed_and_shown(izin: Izin, registered: str) -> None:
    """With brands and keys; an unknown one exits with 3."""
    izin(*CREATE)
    for said in ("changed", "unchanged"):
        ended(izin("customers", "add", "acme", "--name=Acme Ltd"), 0, said)
    assert [
        (one["act"], one["before"]) for one in acts(registered) if "customer" in one["act"]
    ] == [
        ("add customer", {}),
        ("change customer", {"name": "Acme"}),
    ]
    (one,) = json.loads(izin("customers", "list", "--output", "json").stdout)
    assert (one["customer_id"], one["name"], one["brands"]) == ("acme", "Acme Ltd", str(BRAND))
    shown = json.loads(izin("customers", "show", "acme", "--output", "json").stdout)
    fields = {row["field"]: row["value"] for row in shown}
    assert (fields["customer"], fields[f"brand {BRAND}"]) == ("acme Acme Ltd", "One, active")
    assert fields["key shop"].endswith(", publish")
    assert izin("customers", "show", "beta").exit_code == 3


def test_number_of_two_customers_is_named(izin: Izin, registered: str, ledger: str) -> None:
    """A company is one customer, until it is offboarded; the list says since when."""
    number = "--vkn=1234567890"
    assert "VKN" not in izin("customers", "change", "acme", number).stdout
    added = izin("customers", "add", "beta", "--name=Beta", number)
    assert (added.exit_code, "its VKN is that of acme, too" in added.stdout) == (0, True)
    execute(ledger, "UPDATE customers SET offboarded_at = now() WHERE customer_id = 'acme'")
    assert "VKN" not in izin("customers", "add", "beta", "--name=Beta").stdout
    acme, beta = json.loads(izin("customers", "list", "--output", "json").stdout)
    assert (acme["offboarded_at"] is None, beta["offboarded_at"]) == (False, None)


def test_created_key_is_printed_once(izin: Izin, registered: str) -> None:
    """Alone on standard output, so that a shell can take it; the list has no secret."""
    made = ended(izin(*CREATE, f"--brand={BRAND}", "--type=MESAJ", "--expires=2099-01-31T12:00"), 0)
    text = made.stdout.strip()
    given = presented(text)
    assert given is not None
    assert text not in made.stderr
    (listed,) = keys(izin)
    assert (listed["id"], listed["name"], listed["state"]) == (given.id, "shop", "valid")
    assert (listed["brands"], listed["channels"]) == (str(BRAND), "MESAJ")
    assert text.split("_", 2)[2] not in izin("keys", "list").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (CREATE, 3, "izin keys rotate shop"),
        (("keys", "create", "a b", "--scope=publish", "--customer=acme"), 2, "up to 64"),
        (("keys", "create", "0a1b2c3d4e5f-1", "--scope=ask", "--customer=acme"), 2, "no key's id"),
        (("keys", "create", "crm", "--scope=shred", "--customer=acme"), 2, "shred"),
        (("keys", "create", "crm", "--scope=ask", "--customer=beta"), 3, "izin customers add beta"),
        (("keys", "create", "crm", "--scope=ask", "--customer=acme", "--brand=7"), 3, "brand 7"),
        ((*CREATE[:2], "crm", *CREATE[3:], "--expires=2020-01-01T00:00"), 2, "over already"),
        (("keys", "rotate", "crm"), 3, "izin keys list"),
        (("keys", "rotate", "shop", "--grace=soon"), 2, "PT24H"),
        (("keys", "rotate", "shop", "--grace=-PT1H"), 2, "negative"),
        (("keys", "revoke", "crm"), 3, "there is no valid key crm; see: izin keys list"),
    ],
)
def test_unlawful_orders_are_refused(
    izin: Izin, registered: str, words: tuple[str, ...], code: int, said: str
) -> None:
    """Each with what to do, and nothing is changed."""
    izin(*CREATE)
    ended(izin(*words), code, said)
    assert [one["state"] for one in keys(izin)] == ["valid"]


def test_rotated_key_leaves_the_old_one_a_grace(izin: Izin, registered: str) -> None:
    """A day unless another is named; both are listed until the old one ends."""
    izin(*CREATE)
    given = presented(izin("keys", "rotate", "shop").stdout.strip())
    assert given is not None
    old, new = keys(izin)
    assert (new["id"], new["expires_at"]) == (given.id, None)
    assert old["id"].partition("-")[0] == new["id"].partition("-")[0]
    ends_in = datetime.fromisoformat(old["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < ends_in <= timedelta(hours=24)
    assert izin("keys", "rotate", "shop", "--grace=PT0S").exit_code == 0
    assert [one["state"] for one in keys(izin)] == ["valid", "expired", "valid"]


def test_revoke_without_execute_says_what_would_stop(izin: Izin, registered: str) -> None:
    """By name all keys of it, by id one alone."""
    izin(*CREATE, f"--brand={BRAND}")
    izin("keys", "rotate", "shop")
    dry = ended(izin("keys", "revoke", "shop"), 0, "2 keys would be revoked; add --execute")
    printed = " ".join(dry.stderr.split())
    assert printed.count(f"may no longer publish for acme, brands {BRAND}") == 2
    assert [one["state"] for one in keys(izin)] == ["valid", "valid"]
    assert izin("keys", "revoke", keys(izin)[0]["id"], "--execute").exit_code == 0
    assert [one["state"] for one in keys(izin)] == ["revoked", "valid"]
    assert "1 key revoked" in izin("keys", "revoke", "shop", "--execute").stderr
    assert izin("keys", "revoke", "shop", "--execute").exit_code == 3


CODE = str(BRAND)
OTHER = ("brands", "add", "100009", "--iys-code=100001", "--customer=acme", "--name=Two")


@pytest.fixture
def with_history(izin: Izin, ledger: str) -> None:
    """Register a brand in a new ledger that has the history of a recipient of it."""
    store_history()
    assert izin(*REGISTER).exit_code == 0


def listed(izin: Izin) -> dict[int, str]:
    """Return what `list` prints as suspended, by brand."""
    rows = json.loads(izin("brands", "list", "--output", "json").stdout)
    return {row["brand_code"]: row["suspended"] for row in rows}


@pytest.mark.usefixtures("with_history")
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


@pytest.mark.usefixtures("with_history")
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


@pytest.mark.usefixtures("with_history")
def test_brands_suspend_refuses_what_is_not_registered(izin: Izin) -> None:
    """Exit code 3; without a target, with two or without a reason it is wrong usage."""
    suspend = ("suspend", "--reason=court")
    for words, code in (
        ((*suspend, "999"), 3),
        ((*suspend, "--customer=nobody"), 3),
        (suspend, 2),
        ((*suspend, CODE, "--customer=acme"), 2),
        (("suspend", CODE), 2),
        (("resume", CODE), 3),
    ):
        assert izin("brands", *words, "--execute").exit_code == code, words


def rights(izin: Izin) -> dict[str, str]:
    """Return what `show` prints of each right."""
    rows = json.loads(izin("brands", "show", CODE, "--output", "json").stdout)
    return {row["field"]: row["value"] for row in rows if row["field"].startswith("right")}


@pytest.mark.usefixtures("with_history")
def test_brands_rights_acts_with_yes_only(izin: Izin) -> None:
    """It is listed, also as a suspension with its author and remedy; given back, it is gone. Every
    right is taken by --none, never by leaving the channels out.
    """
    order = ("brands", "rights", CODE, "--type", "MESAJ", "--type", "EPOSTA", "--by", "ada")
    ended(izin(*order), 0, "ARAMA: write -> no", "--execute")
    assert izin(*order, "--execute").exit_code == 0
    assert rights(izin) == {
        "right to ARAMA": "no",
        "right to MESAJ": "write",
        "right to EPOSTA": "write",
    }
    (suspension,) = json.loads(izin("brands", "suspensions", "--output", "json").stdout)
    assert (suspension["channel"], suspension["retry_at"]) == ("ARAMA", None)
    assert "by ada" in suspension["reason"]
    assert "izin brands rights" in suspension["remedy"]
    assert "has these rights already" in izin(*order, "--execute").stderr
    assert izin("brands", "retry", CODE).exit_code == 3
    every = [word for one in ("ARAMA", "MESAJ", "EPOSTA") for word in ("--type", one)]
    assert "ARAMA: no -> write" in izin("brands", "rights", CODE, *every, "--execute").stderr
    assert izin("brands", "suspensions").exit_code == 0
    assert izin("brands", "rights", CODE, "--none", "--execute").exit_code == 0
    assert set(rights(izin).values()) == {"no"}
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["rights"] == "none"
