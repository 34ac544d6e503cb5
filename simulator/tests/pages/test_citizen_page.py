"""The citizen's page: what it shows, what its forms do, and what it refuses."""

import httpx
import pytest

from iys_simulator import SimulatorState
from iys_simulator.rules.recipients import parse_recipient
from simulator_harness.client import BRAND_CODE, PHONE, SimulatorHarness, a_brand

RECIPIENT = {"recipient": PHONE, "recipientType": "BIREYSEL"}


async def shown(iys: SimulatorHarness, **asked: str) -> str:
    answer = await iys.http.get("/citizen", params={**RECIPIENT, **asked})
    assert answer.status_code == 200
    return answer.text


async def clicked(iys: SimulatorHarness, path: str, **form: object) -> httpx.Response:
    return await iys.http.post(
        f"/citizen/{path}", data={**RECIPIENT, **form}, follow_redirects=True
    )


def movements(state: SimulatorState):
    """Return the brand's movements in order."""
    return list(state.register_of(BRAND_CODE).movements())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0555 000 00 01", PHONE),
        ("555-000-0001", PHONE),
        ("+90 (555) 000 00 01", PHONE),
        ("0090 555 000 00 01", PHONE),
        ("0212 123 00 00", "+902121230000"),
        (" Alici@Example.com ", "alici@example.com"),
        ("+44 20 7946 0018", "+442079460018"),
        ("0555", None),
        ("alici@", None),
        ("xyz", None),
        ("", None),
    ],
)
def test_recipient_is_parsed_in_any_usual_format(text: str, address: str | None):
    """Phone numbers in any format, e-mails in any case; anything else is invalid."""
    assert parse_recipient(text) == address


async def test_invalid_recipient_is_marked(iys: SimulatorHarness):
    """The field is marked and the error is tied to it."""
    answer = await iys.http.get("/citizen", params={"recipient": "xyz"})
    assert answer.status_code == 422
    assert 'aria-invalid="true" aria-describedby="invalid"' in answer.text
    assert 'id="invalid" role="alert"' in answer.text


async def test_page_shows_the_records_of_each_brand(iys: SimulatorHarness, state: SimulatorState):
    """Known brands come first with status and source, the others under their own heading."""
    state.directory.add_brand(a_brand(code=660102, name="Başka Marka"))
    await iys.add()
    page = await shown(iys)
    assert page.index("Örnek Marka") < page.index("Kaydınız olmayan markalar")
    assert page.index("Kaydınız olmayan markalar") < page.index("Başka Marka")
    assert 'class="mark ONAY">Onaylı' in page
    assert "web sitesi" in page
    assert "Hattı kapat" in page
    assert "E-posta</th>" not in page


async def test_opt_out_is_saved_as_the_citizens(iys: SimulatorHarness, state: SimulatorState):
    """RET with the source IYS_WEB, and the page shows it."""
    await iys.add()
    page = (await clicked(iys, "decision", brand=BRAND_CODE, type="MESAJ", status="RET")).text
    assert "Örnek Marka: Mesaj izni reddedildi." in page
    movement = movements(state)[-1]
    assert (movement.status, movement.source, movement.recipient) == ("RET", "IYS_WEB", PHONE)


async def test_citizen_adds_a_brand_without_a_record(iys: SimulatorHarness, state: SimulatorState):
    """The first movement of a recipient at a brand has the source IYS_WEB_YENI."""
    await clicked(iys, "decision", brand=BRAND_CODE, type="ARAMA", status="ONAY")
    assert movements(state)[-1].source == "IYS_WEB_YENI"


async def test_closed_line_opts_out_at_every_brand(iys: SimulatorHarness, state: SimulatorState):
    """Each opt-in of the number ends by a carrier's notice with the date of the opt-in."""
    state.directory.add_brand(a_brand(code=660102, name="Başka Marka"))
    await iys.add()
    await iys.add(type="ARAMA")
    await clicked(iys, "decision", brand=660102, type="MESAJ", status="ONAY")
    page = (await clicked(iys, "closing")).text
    assert "Hat kapatıldı: 3 izin kaldırıldı." in page
    assert 'class="mark ONAY">Onaylı' not in page.split("Hareketler")[0]
    closing = movements(state)[-1]
    assert (closing.source, closing.consent_date) == (
        "IYS_AHS_HAT_KAPATMA",
        "2026-09-16 10:00:00",
    )


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("decision", {"recipient": "xyz"}),
        ("decision", {"recipientType": "KURUM"}),
        ("decision", {"brand": "1"}),
        ("decision", {"brand": "x"}),
        ("decision", {"type": "EPOSTA"}),
        ("decision", {"status": "EVET"}),
        ("closing", {"recipient": "alici@example.com"}),
    ],
)
async def test_foreign_form_changes_nothing(iys: SimulatorHarness, path: str, form: dict[str, str]):
    """400 with the field."""
    right = {"brand": BRAND_CODE, "type": "MESAJ", "status": "RET"}
    answer = await clicked(iys, path, **{**right, **form})
    assert answer.status_code == 400
    assert movements(iys.state) == []


@pytest.mark.parametrize("done", ["RET.1.MESAJ", "RET.660101.X", "closed.x", "Kazandınız!"])
async def test_link_cannot_put_text_into_the_page(iys: SimulatorHarness, done: str):
    """A notice is made from codes that the simulator knows."""
    assert 'role="status"' not in await shown(iys, done=done)


async def test_brand_name_is_escaped(iys: SimulatorHarness, state: SimulatorState):
    """Names and recipients are text, not markup."""
    state.directory.add_brand(a_brand(name="<script>alert(1)</script>"))
    page = await shown(iys)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_page_loads_nothing_from_other_hosts(iys: SimulatorHarness):
    """The headers forbid it, and send no referrer."""
    answer = await iys.http.get("/citizen")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
