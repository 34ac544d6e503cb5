"""Batches: accepted as a whole or not at all, processed item by item."""

import uuid

from simulator_harness.client import SimulatorHarness, codes

TODAY = "2026-09-17 11:00:00"


def phones(count: int) -> list[str]:
    return [f"+90555{number:07d}" for number in range(count)]


async def test_list_is_accepted_with_a_sub_request_for_each_item(iys: SimulatorHarness):
    """202, items in order, each with its sub-request; nothing is saved yet."""
    items = [iys.consent(recipient=phone) for phone in phones(3)]
    answer = await iys.batch(*items)
    assert answer.status_code == 202
    taken = answer.json()
    assert str(uuid.UUID(taken["requestId"])) == taken["requestId"]
    assert [item["recipient"] for item in taken["subRequests"]] == phones(3)
    assert {item["creationDate"] for item in taken["subRequests"]} == {"2026-09-17 12:00:00"}
    assert all("subRequestId" in item for item in taken["subRequests"])
    assert list(iys.state.register_of(660101).movements()) == []


async def test_request_ids_are_hex_by_switch(iys: SimulatorHarness):
    """The switch returns requestIds without dashes, as seen in production."""
    iys.set(request_id_format="hex")
    request_id = (await iys.batch(iys.consent())).json()["requestId"]
    assert len(request_id) == 32
    int(request_id, 16)


async def test_results_are_empty_then_enqueued_then_final(iys: SimulatorHarness):
    """First an empty list, then `enqueue`, after the delay the outcome."""
    request_id = (await iys.batch(iys.consent())).json()["requestId"]
    assert await iys.results(request_id) == []
    iys.state.clock.advance(150)
    (waiting,) = await iys.results(request_id)
    assert waiting.keys() == {"index", "status", "subrequestId"}
    assert waiting["status"] == "enqueue"
    iys.state.clock.advance(149)
    assert (await iys.results(request_id))[0]["status"] == "enqueue"
    iys.state.clock.advance(1)
    (done,) = await iys.results(request_id)
    assert done["status"] == "success"
    assert done["subRequestId"] == waiting["subrequestId"]
    assert done["creationDate"] == "2026-09-17 12:05:00"


async def test_failed_item_has_its_own_message_of_h175(iys: SimulatorHarness):
    """H175 in a result has another message than in a single add."""
    (found,) = await iys.settled(iys.consent(status="RET"))
    assert found["status"] == "failure"
    assert found["error"]["code"] == "H175"
    assert found["error"]["message"].startswith("İlk izin kayıt")
    assert "transactionId" not in found


async def test_one_invalid_item_refuses_the_whole_list(iys: SimulatorHarness):
    """422 with an index for each invalid item, and nothing is queued."""
    items = [iys.consent(recipient=phone) for phone in phones(4)]
    items[1]["status"] = "X"
    items[3]["consentDate"] = "2026-02-31 10:00:00"
    answer = await iys.batch(*items)
    assert answer.status_code == 422
    found = [(item["index"], item["code"]) for item in answer.json()["errors"]]
    assert found == [(1, "H115"), (3, "H157")]
    assert iys.state.batches.next_due_at is None


async def test_duplicate_key_in_a_list_is_refused(iys: SimulatorHarness):
    """H194 at the second one, e-mails compared in lower case, without a location."""
    items = [
        iys.consent(type="EPOSTA", recipient=recipient)
        for recipient in ("alici@example.com", "ALICI@example.com")
    ]
    answer = await iys.batch(*items)
    assert answer.status_code == 422
    (found,) = answer.json()["errors"]
    assert (found["code"], found["index"]) == ("H194", 1)
    assert "location" not in found
    items[1]["recipientType"] = "TACIR"
    assert (await iys.batch(*items)).status_code == 202


async def test_list_of_more_than_a_thousand_is_refused(iys: SimulatorHarness):
    """H091 at 1,001; a thousand are accepted."""
    items = [iys.consent(recipient=phone) for phone in phones(1001)]
    many = await iys.batch(*items)
    assert (many.status_code, codes(many)) == (422, ["H091"])
    assert (await iys.batch(*items[:1000])).status_code == 202


async def test_body_that_is_no_list_of_objects_is_refused(iys: SimulatorHarness):
    """H092 for an empty list, an object, and items that are no objects."""
    path = f"{iys.path}/consents/request"
    for body in ([], {"type": "MESAJ"}, [1]):
        answer = await iys.http.post(path, json=body)
        assert (answer.status_code, codes(answer)) == (400, ["H092"])


async def test_invalid_retailer_in_a_list_has_its_index(iys: SimulatorHarness):
    """H267 and H180 of a list have the index."""
    empty = await iys.batch(iys.consent(retailerCode=""))
    assert (empty.status_code, codes(empty)) == (400, ["H267"])
    strange = await iys.batch(iys.consent(retailerAccess=[{"code": 1}]))
    assert (strange.status_code, codes(strange)) == (403, ["H180"])
    assert strange.json()["errors"][0]["index"] == 0


async def test_batch_is_checked_when_it_is_processed(iys: SimulatorHarness):
    """A citizen's opt-out between acceptance and processing turns the item into H178."""
    await iys.add()
    request_id = (await iys.batch(iys.consent(consentDate=TODAY))).json()["requestId"]
    await iys.citizen(status="RET")
    iys.state.clock.advance(300)
    (found,) = await iys.results(request_id)
    assert found["error"]["code"] == "H178"
    record = iys.state.register_of(660101).find(("MESAJ", "BIREYSEL", "+905550000001"))
    assert record.status == "RET"


async def test_v2_resend_refers_to_its_first_request(iys: SimulatorHarness):
    """The same consent again succeeds with the first movement; V1 fails with H178."""
    (first,) = await iys.settled(iys.consent(), version="/v2")
    assert first["isAddConsentV2Service"] == "true"
    assert "originalRequestInformation" not in first
    (again,) = await iys.settled(iys.consent(), version="/v2")
    assert again["requestId"] != first["requestId"]
    assert again["transactionId"] == first["transactionId"]
    assert again["originalRequestInformation"] == {
        "requestId": first["requestId"],
        "subRequestId": first["subRequestId"],
    }
    assert len(list(iys.state.register_of(660101).movements())) == 1
    (old,) = await iys.settled(iys.consent())
    assert old["error"]["code"] == "H178"


async def test_v2_resend_after_an_opt_out_changes_nothing(iys: SimulatorHarness):
    """A resend after a citizen's RET succeeds with the old movement and changes nothing."""
    await iys.settled(iys.consent(), version="/v2")
    await iys.citizen(status="RET")
    (again,) = await iys.settled(iys.consent(), version="/v2")
    assert again["status"] == "success"
    assert (
        iys.state.register_of(660101).find(("MESAJ", "BIREYSEL", "+905550000001")).status == "RET"
    )


async def test_results_of_old_and_unknown_requests_are_empty(iys: SimulatorHarness):
    """Older than sixty days, an unknown id, and an id of another brand."""
    request_id = (await iys.batch(iys.consent())).json()["requestId"]
    assert await iys.results(str(uuid.UUID(int=1))) == []
    iys.state.clock.advance(59 * 86400)
    await iys.log_in()
    assert await iys.results(request_id) != []
    iys.state.clock.advance(86400)
    await iys.log_in()
    assert await iys.results(request_id) == []


async def test_request_ids_are_checked(iys: SimulatorHarness):
    """H198 too long, H199 letters only, H400 digits only."""
    for request_id, expected in (("a1" * 19, "H198"), ("abcde", "H199"), ("12345", "H400")):
        answer = await iys.http.get(f"{iys.path}/consents/request/{request_id}")
        assert (answer.status_code, codes(answer)) == (422, [expected])
        assert answer.json()["errors"][0]["value"] == request_id
