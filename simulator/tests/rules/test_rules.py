"""Register rules: the current record decides, at the moment of saving."""

from simulator_harness.client import SimulatorHarness, codes

TODAY = "2026-09-17 11:00:00"


async def test_first_record_may_not_be_ret(iys: SimulatorHarness):
    """H175 for both recipient types."""
    for kind in ("BIREYSEL", "TACIR"):
        answer = await iys.add(status="RET", recipientType=kind)
        assert (answer.status_code, codes(answer)) == (400, ["H175"])
        assert answer.json()["errors"][0].keys() == {"code", "message"}


async def test_bireysel_and_tacir_are_two_records(iys: SimulatorHarness):
    """One recipient has a record of each type."""
    assert (await iys.add()).status_code == 200
    assert (await iys.add(recipientType="TACIR")).status_code == 200
    assert iys.state.register_of(660101).size == 2


async def test_full_quota_refuses_new_recipients(iys: SimulatorHarness):
    """H525 for new recipients; an update and a RET of a known one succeed."""
    iys.replace_brand(consent_limit=1)
    assert (await iys.add()).status_code == 200
    full = await iys.add(recipient="+905550000002")
    assert (full.status_code, codes(full)) == (422, ["H525"])
    listed = await iys.batch(iys.consent(recipient="+905550000002"))
    assert (listed.status_code, codes(listed)) == (422, ["H525"])
    assert (await iys.add(status="RET", consentDate=TODAY)).status_code == 200


async def test_list_that_fills_the_quota_fails_the_rest(iys: SimulatorHarness):
    """A list is accepted while there is room; items beyond it fail in the results."""
    iys.replace_brand(consent_limit=1)
    items = [iys.consent(recipient=f"+90555000000{number}") for number in (1, 2)]
    found = await iys.settled(*items)
    assert [item["status"] for item in found] == ["success", "failure"]
    assert found[1]["error"]["code"] == "H525"


async def test_response_identifies_the_movement(iys: SimulatorHarness):
    """A transactionId is 64 hex digits, creationDate is Turkish time."""
    answer = (await iys.add()).json()
    assert len(bytes.fromhex(answer["transactionId"])) == 32
    assert answer["creationDate"] == "2026-09-17 12:00:00"


async def test_movements_of_one_second_share_their_transaction(iys: SimulatorHarness):
    """One recipient and type in one second is one transactionId, in the next second another."""
    first = (await iys.add()).json()["transactionId"]
    second = (await iys.add(consentDate=TODAY)).json()["transactionId"]
    iys.state.clock.advance(1)
    third = (await iys.add(consentDate="2026-09-17 11:30:00")).json()["transactionId"]
    assert first == second != third


async def test_v2_resend_gets_the_first_response(iys: SimulatorHarness):
    """The same body gets the same transactionId and saves nothing; V1 refuses it."""
    first = await iys.add(version="/v2")
    iys.state.clock.advance(10 * 86400)
    await iys.log_in()
    again = await iys.add(version="/v2")
    assert again.json() == first.json()
    assert len(list(iys.state.register_of(660101).movements())) == 1
    iys.state.clock.advance(-10 * 86400)
    assert codes(await iys.add()) == ["H178"]
