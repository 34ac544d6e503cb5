"""``izin scrub --reject-links`` over the simulator, which makes links as İYS does."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from izin.cli.sending import reject_links
from izin.cli.sending.reject_links import RejectLinkMaker
from izin.cli.sending.scrubbing import ScrubQuestion
from izin.consent import Channel, MessageClass, RecipientType
from izin.iys.errors import BusyError, MisconfiguredError
from izin.runtime.backoff import Backoff
from izin.sinks.outbound.context import RequestBudget
from tests.integration.sinks.sink_harness import A_SECOND, SinkHarness
from tests.support.builders import API_KEY, BRAND
from tests.support.simulator import PASSWORD, USERNAME
from tests.support.subscribers.small_gate import SmallGate, small_gate

pytestmark = pytest.mark.database
ADA, ECE = "ada@example.com", "ece@example.com"
QUESTION = ScrubQuestion(
    brand_code=BRAND,
    type=Channel.EPOSTA,
    recipient_type=RecipientType.BIREYSEL,
    message_class=MessageClass.COMMERCIAL,
    basis=None,
    campaign="spring",
    retailer_code=None,
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing waited for between two tries."""
    monkeypatch.setattr(reject_links, "_BACKOFF", Backoff(A_SECOND / 1000, A_SECOND / 1000))


async def maker(harness: SinkHarness) -> RejectLinkMaker:
    """Return what has the simulator make links for our brand, of which Ada has a consent."""
    harness.iys.other_writer("ONAY", ADA, type="EPOSTA")
    return RejectLinkMaker(
        client=harness.context.client,
        brand=await harness.brand(),
        question=QUESTION,
        budget=RequestBudget(1000, clock=time.monotonic),
    )


async def test_link_withdraws_the_consent_at_iys(harness: SinkHarness):
    """It opens without signing in, and is an opt-out of the citizen there; no other gets one."""
    made = await (await maker(harness)).make([ADA, ECE])
    (link, code) = made[ADA]
    assert (code, made[ECE]) == ("", ("", "H568"))
    assert harness.iys.register()[ADA] == "ONAY"
    async with httpx.AsyncClient(trust_env=False) as anybody:
        opened = await anybody.get(link)
        assert opened.is_success
        assert (await anybody.post(link)).is_success
    assert harness.iys.register()[ADA] == "RET"


async def test_link_is_tried_again_where_iys_was_busy(harness: SinkHarness):
    """Another link for the same recipient changes nothing; in the end the error is the caller's."""
    links = await maker(harness)
    harness.iys.inject_fault("optOutLinks", status=500, code="H103", times=2)
    assert (await links.make([ADA]))[ADA][0]
    harness.iys.inject_fault("optOutLinks", status=500, code="H103", times=5)
    with pytest.raises(BusyError):
        await links.make([ADA])


async def test_missing_right_is_not_tried_again(harness: SinkHarness):
    """An operator acts."""
    links = await maker(harness)
    harness.iys.inject_fault("optOutLinks", status=403, code="H353")
    before = harness.iys.calls("optOutLinks")
    with pytest.raises(MisconfiguredError):
        await links.make([ADA])
    assert harness.iys.calls("optOutLinks") == before + 1


async def test_address_that_iys_refuses_costs_no_other_its_link(harness: SinkHarness):
    """It has İYS's code, and the others are asked for without it."""
    made = await (await maker(harness)).make([ADA, "x@y", ECE])
    assert made[ADA][0]
    assert made["x@y"] == ("", "H120")
    assert made[ECE] == ("", "H568")


@pytest.fixture
def gate() -> Iterator[SmallGate]:
    """Yield a gate that lets everyone be sent to."""
    with small_gate() as gate:
        yield gate


async def test_scrubbed_file_has_links_of_iys(
    harness: SinkHarness, database_url: str, gate: SmallGate, tmp_path: Path
):
    """The command has the brand from the ledger, and its calls are counted with all others."""
    await maker(harness)
    given = os.environ | {
        "DATABASE_URL": database_url,
        "IYS_BASE_URL": harness.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IZIN_GATE_URL": gate.url,
        "IZIN_API_KEY": API_KEY,
    }
    path = tmp_path / "list.csv"
    path.write_text(f"no,e-posta\n1,{ADA}\n2,{ECE}\n")

    def scrub(brand: int) -> subprocess.CompletedProcess[str]:
        words = ("scrub", str(path), f"--brand={brand}", "--type=EPOSTA", "--campaign=spring")
        command = (sys.executable, "-m", "izin.cli", *words, "--reject-links")
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False)

    done = await asyncio.to_thread(scrub, BRAND)
    assert done.returncode == 0, done.stderr
    header, ada, ece = (tmp_path / "list.scrubbed.csv").read_text().splitlines()
    assert header.endswith(",reject_link,reject_code")
    assert f"{harness.iys.address}/RET/" in ada
    assert ece == f"2,{ECE},no,not-registered,,H568"
    counted = await harness.ledger.fetch(
        "SELECT sum(calls) AS calls FROM rate_limit_hours WHERE operation = 'reject_links'"
    )
    assert counted[0]["calls"] == 1
    assert (await asyncio.to_thread(scrub, 7)).returncode == 3
