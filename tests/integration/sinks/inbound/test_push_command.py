"""``izin iys push``: who is pushed to, and how a place is taken and freed."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from izin.consent.model import Channel
from izin.local import free_port
from izin.sinks.ledger import brands
from tests.integration.sinks.inbound.test_push_registration import Worker, url_of
from tests.integration.sinks.sink_harness import Izin, SinkHarness
from tests.support.builders import BRAND
from tests.support.simulator import PASSWORD, USERNAME

pytestmark = pytest.mark.database

OUR_PASSWORD = "our-fake-password"
ACTS = "SELECT data FROM movements WHERE kind = 'act' AND key = %(key)s ORDER BY place"


def our_receiver(harness: SinkHarness, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Return our receiver; the settings name it, and the simulator."""
    worker = Worker(harness, free_port(), OUR_PASSWORD)
    given = {
        "IYS_BASE_URL": harness.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
        "IZIN_PUSH_URL": url_of(worker.port),
        "IZIN_PUSH_USERNAME": "iys",
        "IZIN_PUSH_PASSWORD": OUR_PASSWORD,
        "IZIN_ACTOR": "ada",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return worker


@pytest.fixture
def ours(harness: SinkHarness, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Give our receiver, which the settings name."""
    return our_receiver(harness, monkeypatch)


@pytest.fixture
def izin(izin: Izin, ours: Worker) -> Izin:
    """Give the function that runs a command, once the settings name our receiver."""
    assert ours.port
    return izin


async def acts(harness: SinkHarness) -> list[Mapping[str, Any]]:
    """Return what people did to our brand's pushes."""
    rows = await harness.ledger.fetch(ACTS, {"key": f"brand/{BRAND}"})
    return [row["data"] for row in rows if "push" in row["data"]["act"]]


async def registered_by_worker(ours: Worker, harness: SinkHarness) -> None:
    """Have the worker register each channel that has room, as it does by itself."""
    (brand,) = [one for one in await brands.every(harness.ledger) if one.brand_code == BRAND]
    for state in await ours.connections.of(brand):
        if not (state.is_established or state.is_full):
            await ours.connections.register(brand, state)


async def test_status_shows_what_a_worker_has_registered(
    izin: Izin, ours: Worker, harness: SinkHarness
):
    """Before, each channel needs it; afterwards nothing is to be done."""
    async with ours.serving():
        shown = await izin("iys", "push", "status", BRAND, "--output", "json")
        assert shown.exit_code == 1
        rows = json.loads(shown.stdout)
        assert [(row["type"], row["status"], row["ours"]) for row in rows] == [
            (str(one), "none", True) for one in Channel
        ]
        assert "a sink worker registers it" in rows[0]["remedy"]
        await registered_by_worker(ours, harness)
        assert (await izin("iys", "push", "status", BRAND)).exit_code == 0


async def test_place_is_freed_only_with_its_own_password(
    izin: Izin, ours: Worker, harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Two older receivers have a channel: they are shown, and one makes room."""
    older = [Worker(harness, free_port(), f"fake-password-{number}") for number in range(2)]
    async with older[0].serving(), older[1].serving(), ours.serving():
        for one in older:
            await one.register(Channel.MESAJ)
        shown = await izin("iys", "push", "status", BRAND, "--output", "json")
        remedies = [row["remedy"] for row in json.loads(shown.stdout) if row["type"] == "MESAJ"]
        assert f"izin iys push unregister {BRAND} --type MESAJ" in remedies[0]
        freed = url_of(older[0].port)
        words_of_freeing = (
            *("iys", "push", "unregister", BRAND, "--type=MESAJ"),
            *("--url", freed, "--username", "iys"),
        )
        assert (await izin(*words_of_freeing)).exit_code == 0
        assert harness.iys.calls("pushUnregister") == 0
        monkeypatch.setenv("IZIN_PUSH_OLD_PASSWORD", "wrong")
        wrong = await izin(*words_of_freeing, "--execute")
        assert wrong.exit_code == 3
        assert "API Destek Platformu" in " ".join(wrong.stderr.split())
        monkeypatch.setenv("IZIN_PUSH_OLD_PASSWORD", "fake-password-0")
        assert (await izin(*words_of_freeing, "--execute")).exit_code == 0
        assert (await izin(*words_of_freeing, "--execute")).exit_code == 3
        await registered_by_worker(ours, harness)
        status = await izin("iys", "push", "status", BRAND, "--output", "json")
    urls = {row["url"] for row in json.loads(status.stdout) if row["type"] == "MESAJ"}
    assert urls == {url_of(ours.port), url_of(older[1].port)}
    assert [one["act"] for one in await acts(harness)] == ["unregister push"]


async def test_push_status_without_a_receiver_names_the_setting(
    izin: Izin, monkeypatch: pytest.MonkeyPatch
):
    """There is no receiver here: each channel says which settings it needs."""
    monkeypatch.delenv("IZIN_PUSH_URL")
    shown = await izin("iys", "push", "status", BRAND, "--output", "json")
    assert shown.exit_code == 1
    assert all("IZIN_PUSH_URL" in row["remedy"] for row in json.loads(shown.stdout))
