"""``izin customers`` and ``izin keys`` on a real ledger."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from izin.ledger.db.migrate import migrate
from izin.runtime.settings import LedgerSettings
from izin.schemas.api_keys import presented
from tests.integration.cli.conftest import Izin, ended
from tests.integration.cli.test_acts import acts
from tests.support.builders import BRAND

pytestmark = pytest.mark.database

CREATE = ("keys", "create", "shop", "--scope=publish", "--customer=acme")


@pytest.fixture
def registered(izin: Izin, ledger: str) -> str:
    """Return a new ledger with a customer and a brand."""
    asyncio.run(migrate(LedgerSettings().database_url.get_secret_value()))
    assert izin("customers", "add", "acme", "--name=Acme").exit_code == 0
    order = ("brands", "add", str(BRAND), "--iys-code=100001", "--customer=acme", "--name=One")
    assert izin(*order).exit_code == 0
    return ledger


def keys(izin: Izin) -> list[dict[str, Any]]:
    """Return the keys that are listed."""
    found: list[dict[str, Any]] = json.loads(izin("keys", "list", "--output", "json").stdout)
    return found


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
        refused = ended(izin(*moved, *wrong, "--execute"), 3, "with --from")
        assert "acme" not in refused.stderr
    assert izin(*moved, "--from=acme", "--execute").exit_code == 0
    (brand,) = json.loads(izin("brands", "list", "--output", "json").stdout)
    assert brand["customer_id"] == "beta"


def test_customers_are_listed_and_shown(izin: Izin, registered: str) -> None:
    """With brands and keys; an unknown one exits with 3."""
    izin(*CREATE)
    changed, again = (izin("customers", "add", "acme", "--name=Acme Ltd") for _ in range(2))
    assert (changed.exit_code, "changed" in changed.stderr) == (0, True)
    assert "unchanged" in again.stderr
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
    with psycopg.connect(ledger) as connection:
        connection.execute("UPDATE customers SET offboarded_at = now() WHERE customer_id = 'acme'")
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
    refused = izin(*words)
    printed = " ".join(re.sub(r"[│╭╰─╮╯]", " ", refused.stderr).split())
    assert (refused.exit_code, said in printed) == (code, True), printed
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
    dry = ended(izin("keys", "revoke", "shop"), 0)
    printed = " ".join(dry.stderr.split())
    assert printed.count(f"may no longer publish for acme, brands {BRAND}") == 2
    assert "2 keys would be revoked; add --execute" in printed
    assert [one["state"] for one in keys(izin)] == ["valid", "valid"]
    assert izin("keys", "revoke", keys(izin)[0]["id"], "--execute").exit_code == 0
    assert [one["state"] for one in keys(izin)] == ["revoked", "valid"]
    assert "1 key revoked" in izin("keys", "revoke", "shop", "--execute").stderr
    assert izin("keys", "revoke", "shop", "--execute").exit_code == 3
