"""İYS's access lists are brought to what the latest events name, by ``izin brands retailers``."""

import json
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from izin.iys.retailer_calls import RetailerCalls
from izin.ledger import retailers
from tests.integration.sinks.sink_harness import (
    Izin,
    SinkHarness,
    a_phone,
    acts,
    ended,
    onay,
    ret,
    set_environment,
)
from tests.support.builders import BRAND
from tests.support.simulator import PASSWORD, USERNAME

pytestmark = pytest.mark.database

ONE, TWO, THREE = 10000001, 10000002, 10000003


@pytest.fixture
def at_iys(harness: SinkHarness, izin: Izin, monkeypatch: pytest.MonkeyPatch) -> Izin:
    """Give a function that runs a command which calls the simulator."""
    given = {
        "IYS_BASE_URL": harness.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
        "IZIN_ACTOR": "ada",
    }
    set_environment(monkeypatch, given)
    return izin


async def differ(harness: SinkHarness, count: int) -> None:
    """Have İYS hold consents with one retailer whose latest events name two others."""
    harness.iys.brand(retailers=[ONE, TWO, THREE])
    phones = [a_phone(number) for number in range(1, count + 1)]
    for phone in phones:
        await harness.register(onay(phone, minutes=60, retailer_access=(ONE,)))
    for phone in phones:
        await harness.ingest(onay(phone, minutes=30, retailer_access=(TWO, THREE)))


async def listed(at_iys: Izin, phone: str) -> Sequence[int]:
    """Return the retailers that İYS has with a consent."""
    key = f"{BRAND}/MESAJ/BIREYSEL/{phone}"
    found = ended(
        await at_iys("iys", "retailers", "list", BRAND, "--key", key, "--output", "json"), 0
    )
    return [one["code"] for one in json.loads(found.stdout)]


async def test_differences_are_changed_at_iys_by_few_calls(
    harness: SinkHarness, at_iys: Izin, tmp_path: Path
):
    """The plan shows the calls first and changes nothing; then each list is read back and settled,
    with who ordered it. A second execution has nothing to do.
    """
    await differ(harness, 3)
    words = ("brands", "retailers", BRAND, "--plan", tmp_path / "plan.json")
    planned = ended(await at_iys(*words), 1, "3 lists", "1 calls (1 replace)")
    assert "--execute" in planned.stderr
    assert harness.iys.calls("accessReplace") == 0
    ended(await at_iys(*words, "--execute"), 0, "3 of 3 lists")
    assert harness.iys.calls("accessReplace") == 1
    assert await listed(at_iys, a_phone(2)) == [TWO, THREE]
    assert await retailers.differences(harness.ledger, BRAND) == ()
    assert [one["by"] for one in await acts(harness.ledger, "change retailers%")] == ["ada"] * 3
    ended(await at_iys(*words, "--execute"), 0, "0 of 0 lists")
    assert harness.iys.calls("accessReplace") == 1


async def test_what_was_stopped_goes_on_without_asking_again(
    harness: SinkHarness, at_iys: Izin, tmp_path: Path
):
    """İYS stops answering when lists are read back: what it accepted is not sent again."""
    await differ(harness, 2)
    words = ("brands", "retailers", BRAND, "--plan", tmp_path / "plan.json")
    ended(await at_iys(*words), 1)
    harness.iys.inject_fault("accessList", status=403, code="H353", times=1)
    assert (await at_iys(*words, "--execute")).exit_code != 0
    with (tmp_path / "plan.json.work" / "asked.jsonl").open("ab") as file:
        file.write(b'["cut')
    ended(await at_iys(*words, "--execute"), 0, "2 of 2 lists")
    assert harness.iys.calls("accessReplace") == 1


async def test_list_that_iys_does_not_show_stays_parked(
    harness: SinkHarness, at_iys: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """İYS accepts a change and reports nothing: what it does not show is not settled."""
    await differ(harness, 1)
    words = ("brands", "retailers", BRAND, "--plan", tmp_path / "plan.json")
    ended(await at_iys(*words), 1)
    accepted = AsyncMock()
    monkeypatch.setattr(RetailerCalls, "replace", accepted)
    ended(await at_iys(*words, "--execute"), 1, "1 are left: İYS does not show it yet")
    assert len(await retailers.differences(harness.ledger, BRAND)) == accepted.await_count == 1


async def test_refused_call_costs_no_other_consent(
    harness: SinkHarness, at_iys: Izin, tmp_path: Path
):
    """İYS refuses what names a retailer that it does not know, and the others are changed."""
    await differ(harness, 1)
    await harness.register(onay(a_phone(9), minutes=60, retailer_access=(ONE,)))
    await harness.ingest(onay(a_phone(9), minutes=30, retailer_access=(99999999,)))
    words = ("brands", "retailers", BRAND, "--plan", tmp_path / "plan.json")
    ended(await at_iys(*words), 1, "2 lists")
    ended(await at_iys(*words, "--execute"), 1, "1 of 2 lists", "İYS refuses it", "H180")


async def test_opt_out_meanwhile_is_left_alone(harness: SinkHarness, at_iys: Izin, tmp_path: Path):
    """Its consent has ended, and with it the difference; no retailer gets access."""
    await differ(harness, 2)
    words = ("brands", "retailers", BRAND, "--plan", tmp_path / "plan.json")
    ended(await at_iys(*words), 1)
    await harness.submit_opt_out(ret(a_phone(1)))
    ended(await at_iys(*words, "--execute"), 0, "1 of 1 lists")
    assert await listed(at_iys, a_phone(1)) == []


async def test_retailers_of_a_brand_are_listed_with_what_they_may_use(
    harness: SinkHarness, at_iys: Izin
):
    """With the count of their consents; who looks at one consent is in the history."""
    await differ(harness, 1)
    found = ended(await at_iys("iys", "retailers", "list", BRAND, "--output", "json"), 0)
    assert {one["code"]: one["consents"] for one in json.loads(found.stdout)}[ONE] == 1
    await listed(at_iys, a_phone(1))
    (look,) = await acts(harness.ledger, "look")
    assert look["after"] == {"command": "iys retailers list"}


def a_retailer(number: int, **more: object) -> dict[str, object]:
    """Return a retailer as İYS takes it; its numbers are obviously fake."""
    return {
        "title": f"Örnek {number}",
        "name": "Ada Örnek",
        "tckn": TCKN[number],
        "tin": "1234567890",
        "city": {"code": "34", "name": "İstanbul"},
        "town": {"code": "01", "name": "Kadıköy"},
        **more,
    }


TCKN = ("10000000146", "10000000214")
"""Of nobody: the lowest that are formally valid."""


def written(folder: Path, content: object) -> Path:
    """Return a file with ``content``."""
    path = folder / "retailers.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


async def test_retailers_are_added_at_iys_once(harness: SinkHarness, at_iys: Izin, tmp_path: Path):
    """First the file is only checked; who ordered it is in the history, without an identity number.
    A second run passes over those that are there, and one that İYS refuses costs no other.
    """
    await harness.register_onay()
    path = written(tmp_path, [a_retailer(0), a_retailer(1, mobile="nonsense")])
    words = ("iys", "retailers", "add", BRAND, path)
    ended(await at_iys(*words), 0, "2 would be added")
    assert harness.iys.calls("retailerAdd") == 0
    refused = ended(await at_iys(*words, "--execute"), 1, "1 done, 1 refused")
    assert "H224" in refused.stdout
    written(tmp_path, [a_retailer(0), a_retailer(1)])
    added = ended(await at_iys(*words, "--execute", "--output", "json"), 0, "1 there already")
    codes = [one["code"] for one in json.loads(added.stdout)]
    listed = ended(await at_iys("iys", "retailers", "list", BRAND, "--output", "json"), 0)
    assert {one["code"] for one in json.loads(listed.stdout)} > {codes[1]}
    found = await acts(harness.ledger, "add retailer")
    assert [(one["by"], one["after"]["title"]) for one in found][-1] == ("ada", "Örnek 1")
    assert TCKN[0] not in json.dumps(found) + added.output


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"title": "Örnek"}, "is not a list of objects"),
        ([a_retailer(0), a_retailer(1, tckn="")], "retailer 2 lacks tckn"),
        ([a_retailer(0, tcknn="1")], "retailer 1 has tcknn"),
    ],
)
async def test_file_of_retailers_with_a_fault_is_refused_whole(
    content: object, fault: str, at_iys: Izin, harness: SinkHarness, tmp_path: Path
):
    """The place is named, and nothing is added."""
    path = written(tmp_path, content)
    ended(await at_iys("iys", "retailers", "add", BRAND, path, "--execute"), 3, fault)
    assert harness.iys.calls("retailerAdd") == 0


async def test_retailer_is_removed_only_if_it_may_use_nothing(harness: SinkHarness, at_iys: Izin):
    """First it is shown; one of a consent is left, and so is a code that İYS does not have."""
    harness.iys.brand(retailers=[ONE, TWO])
    await harness.register(onay(a_phone(1), retailer_access=(ONE,)))
    words = ("iys", "retailers", "remove", BRAND, ONE, TWO)
    shown = ended(await at_iys(*words), 0, "--execute")
    assert "may use 1 consents" in shown.stdout
    assert harness.iys.calls("retailerDelete") == 0
    ended(await at_iys(*words, "--execute"), 1, "1 refused, 1 done")
    assert harness.iys.calls("retailerDelete") == 1
    ended(await at_iys(*words[:4], TWO, "--execute"), 3, f"no retailers {TWO}")
    (removed,) = await acts(harness.ledger, "remove retailer")
    assert removed["before"] == {"retailer": TWO}
