"""``izin accounts``: who signs in to the console is said at the command line, and recorded."""

from datetime import UTC, datetime

import pytest

from izin.cli.terminal.exit_codes import ExitCode
from izin.ledger.console import sessions
from izin.ledger.db import Ledger
from izin.ledger.registry import customers
from tests.integration.sinks.sink_harness import Izin, acts, ended

pytestmark = pytest.mark.database
_LINK = "http://127.0.0.1:8090/sign-in/link/"


async def test_account_that_is_saved_signs_in_by_the_link(izin: Izin, ledger: Ledger):
    """Once; the act has what it may do and who ordered it."""
    now = datetime.now(UTC)
    await customers.add(ledger, "acme", "Acme", by="test", now=now)
    done = ended(
        await izin("accounts", "save", "ada", "--role=reader", "--customer=acme", "--by=eve"), 0
    )
    token = done.stdout.strip().removeprefix(_LINK)
    assert [await sessions.use_link(ledger, token, now=now) for _ in range(2)] == ["ada", None]
    ended(await izin("accounts", "link", "ada", "--by=eve"), 0, "within 15 minutes")
    found = await acts(ledger, key="account/ada")
    assert [(one["act"], one["by"]) for one in found] == [
        ("save account", "eve"),
        ("make link", "eve"),
        ("make link", "eve"),
    ]
    assert found[0]["after"] == {"role": "reader", "customers": ["acme"]}
    assert token not in repr(found)


async def test_account_is_listed_changed_and_disabled(izin: Izin, ledger: Ledger):
    """Without --execute nothing is changed."""
    ended(await izin("accounts", "save", "ada", "--role=admin", "--every-customer"), 0)
    ended(await izin("accounts", "save", "ada", "--role=operator", "--every-customer"), 0)
    listed = await izin("accounts", "list", "--output=json")
    assert ("operator" in listed.stdout, "every" in listed.stdout) == (True, True)
    ended(await izin("accounts", "disable", "ada"), 0, "would be disabled")
    assert "make link" in {one["act"] for one in await acts(ledger, key="account/ada")}
    ended(await izin("accounts", "disable", "ada", "--execute", "--by=eve"), 0, "is disabled")
    last = (await acts(ledger, key="account/ada"))[-1]
    assert (last["act"], last["by"], last["before"]["role"]) == (
        *("disable account", "eve"),
        "operator",
    )
    for command in (("link", "ada"), ("disable", "ada", "--execute"), ("link", "nobody")):
        refused = await izin("accounts", *command)
        assert refused.exit_code == ExitCode.SOURCE, refused.output


@pytest.mark.parametrize(
    "words",
    [
        ("ada", "--role=admin"),
        ("ada", "--role=admin", "--every-customer", "--customer=acme"),
        ("ada", "--role=root", "--every-customer"),
        ("ada eve", "--role=admin", "--every-customer"),
        ("-ada", "--role=admin", "--every-customer"),
        ("a" * 129, "--role=admin", "--every-customer"),
    ],
)
async def test_account_that_nobody_meant_is_refused(
    izin: Izin, ledger: Ledger, words: tuple[str, ...]
):
    """Whose data it sees is always said; and a name is one that a page shows."""
    assert (await izin("accounts", "save", *words)).exit_code == 2
    assert await ledger.fetch("SELECT FROM console_accounts") == []


async def test_account_of_an_unknown_customer_is_refused(izin: Izin, ledger: Ledger):
    """Nothing is stored of it."""
    refused = await izin("accounts", "save", "ada", "--role=reader", "--customer=nobody")
    assert refused.exit_code == ExitCode.SOURCE
    assert await ledger.fetch("SELECT FROM console_accounts") == []
