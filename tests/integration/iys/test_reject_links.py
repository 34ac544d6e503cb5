"""``izin scrub --reject-links`` over the simulator, which makes links as İYS does."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from izin.cli.sending import reject_links as linking
from izin.cli.sending.reject_links import reject_links
from izin.cli.sending.scrubbing import ScrubQuestion
from izin.consent import Channel, MessageClass, RecipientType
from izin.iys.errors import BusyError, MisconfiguredError
from izin.runtime.backoff import Backoff
from izin.sinks.outbound import context
from tests.integration.sinks.sink_harness import A_SECOND, SinkHarness, set_environment
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
def at_simulator(
    harness: SinkHarness, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Have the settings lead to the simulator, where Ada has a consent; nothing is waited for."""
    harness.iys.other_writer("ONAY", ADA, type="EPOSTA")
    monkeypatch.setattr(context, "_BACKOFF", Backoff(A_SECOND / 1000, A_SECOND / 1000))
    given = {
        "DATABASE_URL": database_url,
        "IYS_BASE_URL": harness.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
    }
    set_environment(monkeypatch, given)
    return given


async def test_link_withdraws_the_consent_at_iys(harness: SinkHarness):
    """It opens without signing in, and is an opt-out of the citizen there; no other gets one."""
    async with reject_links(QUESTION) as make:
        made = await make(["Ada@example.com", ECE, ADA])
    (link, code) = made[ADA]
    assert (code, made[ECE], made["Ada@example.com"]) == ("", ("", "H568"), (link, ""))
    assert harness.iys.register()[ADA] == "ONAY"
    async with httpx.AsyncClient(trust_env=False) as anybody:
        assert (await anybody.get(link)).is_success
        assert harness.iys.register()[ADA] == "ONAY"
        assert (await anybody.post(link)).is_success
    assert harness.iys.register()[ADA] == "RET"


async def test_links_are_made_a_hundred_a_call(harness: SinkHarness):
    """İYS refuses more at once (H127)."""
    before = harness.iys.calls("optOutLinks")
    async with reject_links(QUESTION) as make:
        made = await make([ADA, *(f"p{number:03}@example.com" for number in range(250))])
        assert await make([]) == {}
    assert len(made) == 251
    assert {code for _, code in made.values()} == {"", "H568"}
    assert harness.iys.calls("optOutLinks") == before + 3


async def test_link_is_tried_again_where_iys_was_busy(harness: SinkHarness):
    """Another link for the same recipient changes nothing; in the end the error is the caller's."""
    async with reject_links(QUESTION) as make:
        harness.iys.inject_fault("optOutLinks", status=500, code="H103", times=2)
        assert (await make([ADA]))[ADA][0]
        harness.iys.inject_fault("optOutLinks", status=500, code="H103", times=3)
        with pytest.raises(BusyError):
            await make([ADA])


async def test_missing_right_is_not_tried_again(harness: SinkHarness):
    """An operator acts."""
    harness.iys.inject_fault("optOutLinks", status=403, code="H353")
    before = harness.iys.calls("optOutLinks")
    async with reject_links(QUESTION) as make:
        with pytest.raises(MisconfiguredError):
            await make([ADA])
    assert harness.iys.calls("optOutLinks") == before + 1


async def test_address_that_iys_refuses_costs_no_other_its_link(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Where İYS's rule is another than ours: it has İYS's code, and the others their links."""
    monkeypatch.setattr(linking, "normalised", str)
    async with reject_links(QUESTION) as make:
        made = await make([ADA, "x@y", ECE])
    assert made[ADA][0]
    assert made["x@y"] == ("", "H120")
    assert made[ECE] == ("", "H568")


@pytest.fixture
def gate() -> Iterator[SmallGate]:
    """Yield a gate that lets everyone be sent to."""
    with small_gate() as gate:
        yield gate


async def test_scrubbed_file_has_links_of_iys(
    harness: SinkHarness, at_simulator: dict[str, str], gate: SmallGate, tmp_path: Path
):
    """The command has the brand from the ledger, and its calls are counted with all others."""
    given = os.environ | at_simulator | {"IZIN_GATE_URL": gate.url, "IZIN_API_KEY": API_KEY}
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
