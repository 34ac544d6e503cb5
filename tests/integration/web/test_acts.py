"""Who did what and who looked at whom: listed newest first, page by page, by an index."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from izin.ledger.console.accounts import AccountRole
from izin.ledger.db import Ledger, statements
from izin.ledger.history import act, append, looks, people_keys
from izin.ledger.registry import customers
from izin.schemas.erasure import SuppressionKeys
from izin.views import acts
from izin.views.acts import ActPosition, ActSelection
from izin.views.i18n import Language
from tests.integration.ledger.test_query_plans import explained, indexes, scanned
from tests.integration.sinks.sink_harness import Izin
from tests.support.builders import NOON, PHONE, a_key
from tests.support.console import ConsoleHarness

pytestmark = pytest.mark.database
KEY = str(a_key(recipient=PHONE))
A_SECOND = timedelta(seconds=1)
MANY = 4000


async def recorded(
    ledger: Ledger, count: int = 3, *, by: str = "ada", customer: str = "acme", **more: object
) -> None:
    """Record acts on a recipient, on a brand and looks at a person, a second apart."""
    digests = SuppressionKeys(["s" * 32])
    for number in range(count):
        at = NOON + number * A_SECOND
        fields = {"by": by, "now": at, "customer_id": customer}
        entries = [
            act("requeue", KEY, before={"state": "parked"}, after={"state": "pending"}, **fields),
            act("change brand", "brand/7", before={}, after={"name": PHONE, **more}, **fields),
            *looks(people_keys([PHONE], digests), "explain", **fields),
        ]
        async with ledger.transaction() as connection:
            await append.append(connection, entries, now=at)


async def test_acts_are_listed_newest_first_with_recipients_masked(console: ConsoleHarness):
    """Whoever did it, on what, and what it changed."""
    await recorded(console.ledger)
    browser = await console.signed_in(role=AccountRole.READER)
    page = (await browser.get("/acts", kind="changes")).text
    assert PHONE not in page
    for words in ("requeue", "+90***01 · MESAJ", "state: parked -&gt; pending", "brand 7", "ada"):
        assert words in page
    times = re.findall(r"02\.03\.2026 12:00:0\d", page)
    assert times == sorted(times, reverse=True)
    assert len(times) == 6
    looks_alone = (await browser.get("/acts", kind="looks")).text
    assert looks_alone.count("command: explain") == 3
    assert "requeue" not in looks_alone


async def test_pages_have_every_act_once(ledger: Ledger):
    """By the position of the last one, whatever is added meanwhile."""
    await recorded(ledger, 5)
    found, before = list[acts.RecordedAct](), acts.NEWEST
    while some := await acts.page(ledger, ActSelection(), before=before, size=4):
        found += some
        before = ActPosition.read(str(some[-1].position))
        await recorded(ledger, 1, by="bob")
    mine = [one for one in found if one.data["by"] == "ada"]
    assert len({one.position for one in mine}) == len(mine) == 15
    assert found == sorted(found, key=lambda one: one.position, reverse=True)


async def test_page_leads_to_the_older_ones(console: ConsoleHarness):
    """And back to the newest; a page that is none is refused."""
    await recorded(console.ledger, 30)
    browser = await console.signed_in(role=AccountRole.READER)
    first = await browser.get("/acts", by="ada")
    (older,) = re.findall(r'href="(/acts\?[^"]*)">Older', first.text)
    second = await browser.get(older.replace("&amp;", "&"))
    assert "Newest" in second.text
    assert "Older" not in second.text
    for wrong in ("x", "2026-01-01T00:00:00+00:00/0/99999999999999999999", "2026-01-01/0/1"):
        assert (await browser.get("/acts", before=wrong)).status_code == 400
    assert (await browser.get("/acts", kind="none")).status_code == 400


async def test_acts_are_cut_to_the_customer_of_the_account(console: ConsoleHarness):
    """Of another customer, and of nobody, none is shown."""
    for name in ("acme", "beta"):
        await customers.add(console.ledger, name, name, by="test", now=console.clock())
    await recorded(console.ledger, by="ada", customer="acme")
    await recorded(console.ledger, by="bob", customer="beta")
    browser = await console.signed_in(AccountRole.ADMIN, ["beta"])
    for query in ({}, {"by": "ada"}, {"kind": "looks"}):
        assert "ada" not in (await browser.get("/acts", **query)).text.replace('value="ada"', "")
    assert "bob" in (await browser.get("/acts")).text
    assert (await browser.get("/acts", customer="acme")).status_code == 403


async def test_command_lists_what_the_screen_does(console: ConsoleHarness, izin: Izin):
    """Of an actor and a kind, since an instant; as JSON with recipients masked too."""
    await recorded(console.ledger)
    await recorded(console.ledger, by="bob")
    since = f"--since={NOON - A_SECOND:%Y-%m-%dT%H:%M:%S%z}"
    done = await izin("report", "acts", since, "--actor=ada", "--which=changes", "--output=json")
    assert done.exit_code == 0
    assert PHONE not in done.stdout
    assert done.stdout.count('"act": "requeue"') == 3
    assert '"by": "bob"' not in done.stdout
    shown = await izin("report", "acts", since, "--which=looks")
    assert "person …" in shown.stdout
    late = await izin("report", "acts", "--since=1h", "--output=json")
    assert late.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("of-all", "history_acts"),
        ("of-customer", "history_acts_of_customer"),
        ("of-actor", "history_acts_of_actor"),
    ],
)
async def test_acts_are_found_by_the_index_of_whose_they_are(ledger: Ledger, name: str, index: str):
    """Not the history, and no act of another."""
    async with ledger.session() as connection:
        for _ in range(2):
            await fill(ledger)
        await connection.execute("ANALYZE history")
    values: Mapping[str, object] = {
        "looks": [False, True],
        "customer_id": None if name == "of-actor" else "customer-1",
        "by": "actor-1",
        "at": datetime.max.replace(tzinfo=NOON.tzinfo),
        "shard": 0,
        "place": 0,
        "size": 51,
    }
    async with ledger.transaction() as connection:
        plan = await explained(connection, statements("acts")[name], dict(values))
    assert not scanned(plan)
    used = {one for one in indexes(plan) if one.startswith("history_")}
    expected = await names_of(ledger, index)
    assert used <= expected
    assert used


async def fill(ledger: Ledger) -> None:
    """Record many acts and looks of several actors and customers."""
    entries = [
        act(
            "look" if number % 3 else "requeue",
            f"brand/{number}",
            by=f"actor-{number % 7}",
            now=NOON + number * A_SECOND,
            before={},
            after={},
            customer_id=f"customer-{number % 5}",
        )
        for number in range(MANY)
    ]
    async with ledger.transaction() as connection:
        await append.append(connection, entries, now=NOON)


async def names_of(ledger: Ledger, index: str) -> set[str]:
    """Return the names of an index in every month."""
    rows = await ledger.fetch(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass(%(index)s)",
        {"index": index},
    )
    return {row["relname"] for row in rows}


async def test_acts_are_said_in_turkish(console: ConsoleHarness):
    """What was done, and on what."""
    await recorded(console.ledger)
    browser = await console.signed_in(role=AccountRole.READER, language=Language.TURKISH)
    page = (await browser.get("/acts")).text
    for words in ("Yeniden işleme al", "marka değişikliği", "bakış", "kişi …", "marka 7"):
        assert words in page
    assert "Daha eskiler" not in page
