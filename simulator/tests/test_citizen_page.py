"""The citizen's page: what it shows, what a click does, and what it refuses. No browser needed."""

import httpx
import pytest

from iys_simulator import SimulatorState
from iys_simulator.rules.recipients import parse_recipient
from simulator_harness.client import BRAND_CODE, PHONE, Iys, a_brand

RECIPIENT = {"recipient": PHONE, "recipientType": "BIREYSEL"}


async def shown(iys: Iys, **asked: str) -> str:
    answer = await iys.http.get("/citizen", params={**RECIPIENT, **asked})
    assert answer.status_code == 200
    return answer.text


async def clicked(iys: Iys, path: str, **form: object) -> httpx.Response:
    return await iys.http.post(
        f"/citizen/{path}", data={**RECIPIENT, **form}, follow_redirects=True
    )


def movements(state: SimulatorState):
    """Give the brand's movements in order."""
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
def test_an_address_is_read_as_people_write_it(text: str, address: str | None):
    """Phones in any spelling, e-mails in any case; what is neither is nothing."""
    assert parse_recipient(text) == address


async def test_what_is_no_address_is_said(iys: Iys):
    """The field is marked and the error is tied to it."""
    answer = await iys.http.get("/citizen", params={"recipient": "xyz"})
    assert answer.status_code == 422
    assert 'aria-invalid="true" aria-describedby="invalid"' in answer.text
    assert 'id="invalid" role="alert"' in answer.text


async def test_it_shows_what_each_brand_has(iys: Iys, state: SimulatorState):
    """Known brands come first with status and source, the others under a heading of their own."""
    state.directory.add_brand(a_brand(code=660102, name="Başka Marka"))
    await iys.add()
    page = await shown(iys)
    assert page.index("Örnek Marka") < page.index("Kaydınız olmayan markalar")
    assert page.index("Kaydınız olmayan markalar") < page.index("Başka Marka")
    assert 'class="mark ONAY">Onaylı' in page
    assert "web sitesi" in page
    assert "Hattı kapat" in page
    assert "E-posta</th>" not in page


async def test_a_rejection_is_saved_as_the_citizens(iys: Iys, state: SimulatorState):
    """RET with source IYS_WEB, and the page says so."""
    await iys.add()
    page = (await clicked(iys, "decision", brand=BRAND_CODE, type="MESAJ", status="RET")).text
    assert "Örnek Marka: Mesaj izni reddedildi." in page
    movement = movements(state)[-1]
    assert (movement.status, movement.source, movement.recipient) == ("RET", "IYS_WEB", PHONE)


async def test_a_brand_without_a_record_is_added_by_the_citizen(iys: Iys, state: SimulatorState):
    """The first movement of an address at a brand carries IYS_WEB_YENI."""
    await clicked(iys, "decision", brand=BRAND_CODE, type="ARAMA", status="ONAY")
    assert movements(state)[-1].source == "IYS_WEB_YENI"


async def test_a_line_is_closed_at_every_brand(iys: Iys, state: SimulatorState):
    """Each approval of the number ends as a carrier's notice, dated as the approval was."""
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
async def test_a_form_it_did_not_make_changes_nothing(iys: Iys, path: str, form: dict[str, str]):
    """400 with the field."""
    right = {"brand": BRAND_CODE, "type": "MESAJ", "status": "RET"}
    answer = await clicked(iys, path, **{**right, **form})
    assert answer.status_code == 400
    assert movements(iys.state) == []


@pytest.mark.parametrize("done", ["RET.1.MESAJ", "RET.660101.X", "closed.x", "Kazandınız!"])
async def test_a_link_puts_no_words_into_the_page(iys: Iys, done: str):
    """A notice is made of codes that the twin knows."""
    assert 'role="status"' not in await shown(iys, done=done)


async def test_what_a_brand_is_called_is_no_markup(iys: Iys, state: SimulatorState):
    """Names and addresses are texts."""
    state.directory.add_brand(a_brand(name="<script>alert(1)</script>"))
    page = await shown(iys)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_the_page_loads_nothing_from_elsewhere(iys: Iys):
    """The browser is told so, and is not told where the page was left for."""
    answer = await iys.http.get("/citizen")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
