"""Complaints in the console: entered, answered with evidence, closed, and whose they are."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from izin.evidence.verification import verify
from izin.ledger.console.accounts import AccountRole
from izin.ledger.registry import complaints
from izin.ledger.registry.complaints import Complaint, NewComplaint
from izin.views.i18n import Language
from tests.integration.sinks.sink_harness import SinkHarness, onay
from tests.integration.web.two_customers import REFUSED, acts
from tests.support.builders import NOON, PHONE
from tests.support.console import ConsoleHarness

pytestmark = pytest.mark.database

FORM = {
    "brand": "100001",
    "channel": "MESAJ",
    "recipient": "0555 000 00 01",
    "sent": "2026-03-02T12:00",
    "sender": "ORNEK",
    "content": "Bahar indirimi",
    "due": "2026-03-16T17:00",
    "reference": "2026/1",
}
DAY = timedelta(days=1)


async def entered(console: ConsoleHarness, brand: int = 100001, **more: Any) -> Complaint:  # noqa: ANN401  # fields
    """Enter a complaint about a message of a brand."""
    fields: dict[str, Any] = {
        "brand_code": brand,
        "channel": "MESAJ",
        "recipient": PHONE,
        "sent_at": NOON,
        "sender": "ORNEK",
        "content": "Bahar indirimi",
        "reference": None,
        "due_at": None,
    }
    new = NewComplaint(**fields | more)
    return await complaints.add(console.ledger, new, by="ada", now=console.clock())


async def test_complaint_is_entered_by_who_is_signed_in(registered: ConsoleHarness):
    """Instants are Turkish, and the history of the recipient is held."""
    browser = await registered.signed_in(AccountRole.COMPLIANCE, name="ada")
    page = await browser.post("/complaints", FORM)
    assert "The complaint is entered." in page.text
    (found,) = await complaints.every(registered.ledger)
    assert (found.recipient, found.sent_at, found.entered_by) == (PHONE, NOON, "ada")
    assert (found.reference, len(found.hold_ids)) == ("2026/1", 2)
    assert PHONE not in page.text


async def test_hold_is_of_the_keys_that_are_known(harness: SinkHarness, console: ConsoleHarness):
    """Else the person's export would have a merchant who has nothing but that hold."""
    await harness.ingest(onay())
    assert len((await entered(console)).hold_ids) == 1


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"recipient": "12"}, 422, "Telefon"),
        ({"sent": "yesterday"}, 422, "biçiminde yazın"),
        ({"sent": "0001-01-01T00:00"}, 422, "biçiminde yazın"),
        ({"sender": ""}, 422, "boş"),
        ({"channel": "SMS"}, 422, "seçeneklerden"),
        ({"brand": "7"}, 403, "yetkili değil"),
        ({"brand": "99999999999"}, 422, "rakamla"),
    ],
)
async def test_wrong_complaint_is_refused_in_turkish(
    registered: ConsoleHarness, form: Mapping[str, str], status: int, said: str
):
    """Nothing of it is kept."""
    browser = await registered.signed_in(AccountRole.COMPLIANCE, language=Language.TURKISH)
    refused = await browser.post("/complaints", {**FORM, **form})
    assert (refused.status_code, said in refused.text) == (status, True), refused.text
    assert await complaints.every(registered.ledger) == ()


async def test_list_is_masked_and_has_what_is_due_first(registered: ConsoleHarness):
    """For a reader too, who opens none; closed ones only on demand."""
    now = registered.clock()
    for due in (None, now + DAY, now - DAY):
        await entered(registered, due_at=due)
    browser = await registered.signed_in(AccountRole.READER)
    page = (await browser.get("/complaints")).text
    assert re.findall(r'<tr role="row">\s*<td[^>]*>(\d+)</td>', page) == ["3", "2", "1"]
    assert "overdue" in page
    assert PHONE not in page
    assert (await browser.get("/complaints/1")).status_code == 403
    officer = await registered.signed_in(AccountRole.COMPLIANCE)
    await officer.post("/complaints/3/close", {"outcome": "unfounded"})
    assert "unfounded" not in (await browser.get("/complaints")).text
    assert "unfounded" in (await browser.get("/complaints", closed="1")).text


async def test_complaint_is_shown_whole_by_a_look(registered: ConsoleHarness):
    """Without it neither recipient nor content is shown; the history has who looked."""
    one = await entered(registered)
    browser = await registered.signed_in(AccountRole.COMPLIANCE, name="ada")
    page = (await browser.get(f"/complaints/{one.id}")).text
    assert PHONE not in page
    assert "Bahar indirimi" not in page
    whole = (await browser.post(f"/complaints/{one.id}/look")).text
    assert PHONE in whole
    assert "Bahar indirimi" in whole
    (look,) = [act for act in await acts(registered.ledger) if act["act"] == "look"]
    assert (look["by"], look["after"]["command"]) == ("ada", "console complaint")


async def test_evidence_is_downloaded_verified_and_attached(registered: ConsoleHarness):
    """Its digest is what the complaint has then; whoever downloads it has looked."""
    one = await entered(registered)
    browser = await registered.signed_in(AccountRole.COMPLIANCE, name="ada")
    archive = await browser.post(f"/complaints/{one.id}/evidence")
    assert archive.headers["Content-Type"] == "application/zip"
    found = verify(archive.content, None)
    assert (found.header["recipient"], found.header["made_by"]) == (PHONE, "ada")
    kept = await complaints.find(registered.ledger, one.id)
    assert kept.evidence_sha256 == found.sha256
    assert str(kept.evidence_path) in archive.headers["Content-Disposition"]
    assert kept.evidence_sha256 in (await browser.get(f"/complaints/{one.id}")).text
    done = [act["act"] for act in await acts(registered.ledger)]
    assert {"export evidence", "attach evidence"} <= set(done)


async def test_complaint_is_closed_once(registered: ConsoleHarness):
    """With its outcome and a note; its holds end."""
    one = await entered(registered)
    browser = await registered.signed_in(AccountRole.ADMIN, name="ada")
    form = {"outcome": "justified", "note": "settled"}
    assert "is closed" in (await browser.post(f"/complaints/{one.id}/close", form)).text
    found = await complaints.find(registered.ledger, one.id)
    assert (found.outcome, found.note, found.closed_by) == ("justified", "settled", "ada")
    again = await browser.post(f"/complaints/{one.id}/close", form)
    assert (again.status_code, "closed already" in again.text) == (409, True)


async def test_other_complaint_is_refused_as_one_that_is_not_there(registered: ConsoleHarness):
    """Of another customer, and of no number that there is; nothing is changed."""
    other = await entered(registered, 100002)
    browser = await registered.signed_in(AccountRole.ADMIN, customers=["acme"])
    assert "100002" not in (await browser.get("/complaints")).text
    before = await acts(registered.ledger)
    for number in (other.id, 77, 10**30):
        answers = [await browser.get(f"/complaints/{number}")]
        answers += [
            await browser.post(f"/complaints/{number}/{what}", {"outcome": "fined"})
            for what in ("look", "evidence", "close")
        ]
        assert {one.status_code for one in answers} == {403}
        assert all(REFUSED in one.text for one in answers)
    assert (await browser.post("/complaints", {**FORM, "brand": "100002"})).status_code == 403
    assert await acts(registered.ledger) == before


async def test_operator_and_reader_change_no_complaint(registered: ConsoleHarness):
    """They see the list, and no form."""
    await entered(registered)
    for role in (AccountRole.READER, AccountRole.OPERATOR):
        browser = await registered.signed_in(role)
        assert "Enter a complaint" not in (await browser.get("/complaints")).text
        posts = [await browser.post("/complaints", FORM)]
        posts += [
            await browser.post(f"/complaints/1/{what}", {"outcome": "fined"})
            for what in ("look", "evidence", "close")
        ]
        assert {one.status_code for one in posts} == {403}
