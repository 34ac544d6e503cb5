"""The overview: figures of the ledger as they are, for a customer or all, and plots with files."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from izin.iys.wire_format import Stream
from izin.ledger.console.accounts import AccountRole
from izin.ledger.history.reports import opt_outs_by_day
from izin.views.i18n import Language
from izin.web.screens.overview import PLOTS
from tests.integration.sinks.sink_harness import SinkHarness, onay, ret
from tests.integration.web.test_deadlines import add_beta, rows_of
from tests.support.builders import CUSTOMER, PHONE, a_phone
from tests.support.console import Browser, ConsoleHarness, console_over

pytestmark = pytest.mark.database


@pytest.fixture
async def console(harness: SinkHarness) -> AsyncIterator[ConsoleHarness]:
    """Give the console over the ledger of the sinks."""
    async with console_over(harness.ledger, clock=harness.clock) as console:
        yield console


def figures(page: str) -> dict[str, str]:
    """Return the figures of a page by name."""
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def forget(console: ConsoleHarness) -> None:
    """Have figures read again."""
    console.console.kept._figures.clear()


async def figures_of(browser: Browser, **query: str) -> dict[str, str]:
    """Return the figures of the overview."""
    answer = await browser.get("/", **query)
    assert answer.status_code == 200, answer.text
    return figures(answer.text)


async def test_figures_are_those_of_the_ledger(harness: SinkHarness, console: ConsoleHarness):
    """What came in, what İYS took of it, and what is overdue."""
    await harness.register_onay(a_phone(2))
    await harness.submit_opt_out(ret(a_phone(2)))
    await harness.ingest(onay(a_phone(3)))
    browser = await console.signed_in()
    found = await figures_of(browser)
    assert found["Came in and decided"] == "3"
    assert found["Registered at İYS"] == "2"
    assert found["Waits for İYS"] == "1"
    assert (found["Overdue"], found["Opt-outs today"]) == ("0", "1")
    assert found["needs a decision"] == found["suspended"] == found["Open complaints"] == "0"
    assert found["Status queries"] == "0 of 1,000"
    assert "all will be sent in time" in (await browser.get("/")).text


async def test_figures_are_cut_to_the_customer(harness: SinkHarness, console: ConsoleHarness):
    """And of the limits, which all share, nothing is shown."""
    await harness.ingest(onay(), ret(a_phone(2)))
    await add_beta(harness)
    ours = await figures_of(await console.signed_in(AccountRole.READER, [CUSTOMER]))
    theirs = await figures_of(await console.signed_in(AccountRole.READER, ["beta"]))
    names = ("Came in and decided", "Waits for İYS", "Opt-outs today")
    assert [ours[name] for name in names] == ["2", "2", "1"]
    assert [theirs[name] for name in names] == ["0", "0", "0"]
    assert "Requests" not in ours
    assert "Requests" not in theirs
    chosen = await figures_of(await console.signed_in(), customer="beta")
    assert chosen["Came in and decided"] == "0"


async def test_opt_outs_are_counted_by_channel_and_path(
    harness: SinkHarness, console: ConsoleHarness
):
    """One came from a source, one by pull from İYS; consents are none."""
    await harness.register_onay(a_phone(2))
    harness.citizen("RET", a_phone(2), then=timedelta(hours=2))
    await harness.pull_and_ingest(Stream.IYS)
    await harness.ingest(onay(a_phone(3)), ret(a_phone(4)))
    since = harness.clock() - timedelta(days=1)
    found = await opt_outs_by_day(harness.ledger, since=since)
    assert sorted((one.channel, one.path, one.opt_outs) for one in found) == [
        ("MESAJ", "pull", 1),
        ("MESAJ", "source", 1),
    ]
    browser = await console.signed_in()
    by_path = rows_of((await browser.get("/plots.csv", plot="opt-outs-by-path")).content)
    assert len(by_path) == 14
    assert list(by_path[-1].values())[1:] == ["0", "1", "0", "1"]
    by_channel = rows_of((await browser.get("/plots.csv", plot="opt-outs-by-channel")).content)
    assert sum(int(one["MESAJ"]) for one in by_channel) == 2


async def test_every_plot_has_its_picture_table_and_file(
    harness: SinkHarness, console: ConsoleHarness
):
    """Each that has anything is pictures; one that there is not is refused."""
    await harness.ingest(onay(), ret(a_phone(2)))
    browser = await console.signed_in(AccountRole.READER)
    page = (await browser.get("/")).text
    pictures = [name for name in PLOTS if f'href="/plots.csv?plot={name}"' in page]
    assert pictures == [name for name in PLOTS if name != "latencies"]
    assert page.count('<svg class="plot"') == page.count("<details>") == len(pictures)
    for name in PLOTS:
        assert rows_of((await browser.get("/plots.csv", plot=name)).content)
    assert (await browser.get("/plots.csv", plot="other")).status_code == 404


async def test_latency_reaches_from_iys_to_the_subscriber(
    harness: SinkHarness, console: ConsoleHarness
):
    """By İYS's own instant of the opt-out."""
    await harness.register_onay(PHONE)
    harness.citizen("RET", PHONE, then=timedelta(hours=2))
    await harness.pull_and_ingest(Stream.IYS)
    await harness.ledger.execute(
        "INSERT INTO deliveries (batch, place, subscriber_id, customer_id, type, topic, partition,"
        ' "offset", attempts, status, delivered_at, recorded_at, commitment, salt, webhook_id, key)'
        " SELECT 1, 1, 1, customer_id, 'consent.opted-out', 'opt-outs', 0, 0, 1, 200,"
        " recorded_at + interval '3 seconds', recorded_at, '', '', '', key"
        " FROM history WHERE kind = 'decision' AND opted_out(decision)"
    )
    browser = await console.signed_in()
    found = await figures_of(browser)
    assert found["From İYS to a subscriber"] == "2 h"
    rows = rows_of((await browser.get("/plots.csv", plot="latencies")).content)
    assert {one["Time"]: one["İYS, pulled"] for one in rows}["1 h +"] == "1"


async def test_what_does_not_answer_is_named(harness: SinkHarness, console: ConsoleHarness):
    """No worker; with one that lives, what it has not read."""
    browser = await console.signed_in(AccountRole.READER, [CUSTOMER])
    assert "No sink worker runs" in (await browser.get("/")).text
    forget(console)
    await harness.ledger.execute("INSERT INTO processes (owner, beats) VALUES ('7', 1)")
    async with harness.living():
        page = (await browser.get("/")).text
        assert "No sink worker runs" not in page
        await harness.ledger.execute(
            "INSERT INTO kafka_offsets (topic, partition, cluster_id, topic_id, next_offset,"
            " read_until) VALUES ('consent-events', 0, 'c', 't', 7, now() - interval '1 hour')"
        )
        forget(console)
        assert "has not been read yet" in (await browser.get("/")).text


async def test_page_in_turkish_has_no_english_text(harness: SinkHarness, console: ConsoleHarness):
    """Its faults and its forecast too."""
    await harness.ingest(onay())
    page = (await (await console.signed_in(language=Language.TURKISH)).get("/")).text
    assert "Retler akıyor mu?" in page
    assert "Kayıtları işleyen süreç (sink) çalışmıyor" in page
    assert "Opt-outs" not in page


async def test_watcher_is_sent_the_figures_as_they_change(
    harness: SinkHarness, console: ConsoleHarness
):
    """The events are those of its own customer; nobody who has not signed in is sent any."""
    await harness.ingest(onay())
    browser = await console.signed_in(AccountRole.READER, [CUSTOMER])
    page = (await browser.get("/")).text
    assert f'sse-connect="/live?customer={CUSTOMER}" sse-swap="changed"' in page
    answer = await browser.get("/live", customer=CUSTOMER)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    _, event = answer.text.split("\n\n", 2)[:2]
    name, *lines = event.split("\n")
    assert name == "event: changed"
    assert figures("\n".join(line.removeprefix("data: ") for line in lines)) == figures(page)
    assert (await console.browser().get("/live")).status_code == 303
    assert (await browser.get("/live", customer="beta")).status_code == 403


async def test_watching_is_no_use_of_the_session(harness: SinkHarness, console: ConsoleHarness):
    """A page that is left open does not keep its session from ending."""
    browser = await console.signed_in()
    for _ in range(4):
        harness.clock.ahead += timedelta(minutes=10)
        answer = await browser.client.get("/live", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 303
