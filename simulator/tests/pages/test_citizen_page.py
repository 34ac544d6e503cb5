"""The citizen's page: what it shows, what its forms do, and what it refuses."""

import re

import httpx
import pytest

from iys_simulator import SimulatorState
from iys_simulator.pages.citizen_rows import date_in_words
from iys_simulator.rules.recipients import parse_recipient
from simulator_harness.client import BRAND_CODE, PHONE, SimulatorHarness, a_brand
from simulator_harness.push_receiver import CONNECTION, Receiver, deliveries_done, register

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


def visible(page: str) -> str:
    """Return the text of a page without its markup and its style."""
    return re.sub(r"<style>.*?</style>|<[^>]*>", "", page, flags=re.DOTALL)


async def test_delivery_has_the_time_of_the_simulators_clock(
    iys: SimulatorHarness, receiver: Receiver
):
    """A push after a moved clock is dated like the movement that it delivers."""
    await register(iys, CONNECTION)
    iys.state.clock.advance(40 * 86400)
    await clicked(iys, "decision", brand=BRAND_CODE, type="MESAJ", status="RET")
    page = await shown(iys)
    moved = '<time datetime="2026-10-27T12:00:00+03:00">27 Ekim 2026 12:00</time>'
    deliveries = page.split('id="deliveries"')[1].split('id="history"')
    assert [moved in part for part in deliveries] == [True, True]


@pytest.mark.parametrize(
    ("problem", "sentence", "counted"),
    [
        (None, "Ulaştı", "200"),
        (500, "Ulaşmadı: adres bildirimi kabul etmedi (HTTP 500)", "500"),
        (httpx.ConnectError("x"), "Ulaşmadı: adrese bağlanılamadı", "unreachable"),
        (httpx.ConnectTimeout("x"), "Ulaşmadı: adrese bağlanılamadı", "unreachable"),
        (
            httpx.ReadTimeout("x"),
            "Ulaştığı bilinmiyor: adres zamanında yanıt vermedi",
            "timed_out",
        ),
        (
            httpx.RemoteProtocolError("x"),
            "Ulaştığı bilinmiyor: yanıt gelmeden bağlantı koptu",
            "disconnected",
        ),
    ],
)
async def test_result_of_a_delivery_is_a_sentence(
    iys: SimulatorHarness,
    receiver: Receiver,
    problem: Exception | int | None,
    sentence: str,
    counted: str,
):
    """What became of a push, without names of Python's classes, on the page and in the counters."""
    iys.set(push_retries=0)
    await register(iys, CONNECTION)
    receiver.problem = problem if isinstance(problem, Exception) else None
    receiver.failures = int(problem == 500)
    await iys.citizen()
    await deliveries_done(iys)
    assert f">{sentence}</td>" in await shown(iys)
    counts = (await iys.look("requests")).json()["operations"]["push"]["statuses"]
    assert counts.pop(counted) == 1
    assert counts.keys() <= {"given_up"}


async def test_dates_are_written_as_people_read_them(iys: SimulatorHarness, receiver: Receiver):
    """Records, deliveries, movements and the page's own time have no ISO dates."""
    await register(iys, CONNECTION)
    await iys.add()
    await clicked(iys, "decision", brand=BRAND_CODE, type="MESAJ", status="RET")
    text = visible(await shown(iys))
    assert re.findall(r"\d{4}-\d\d-\d\d", text) == []
    assert text.count("17 Eylül 2026 12:00") == 5


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        ("2026-01-05 09:07:59", "5 Ocak 2026 09:07"),
        ("2026-08-30 00:00:00", "30 Ağustos 2026 00:00"),
        ("2026-12-31 23:59:59", "31 Aralık 2026 23:59"),
    ],
)
def test_date_in_words_has_the_months_name(wire: str, words: str):
    """Day, month in words, year, hour and minute."""
    assert date_in_words(wire) == words


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
