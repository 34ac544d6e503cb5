"""What people do in the console: pages that forms lead to, and tasks by keyboard alone."""

import re
from collections.abc import Callable, Mapping

from tests.support.builders import BRAND, CUSTOMER, PHONE
from tests.support.console.browsing import Reach, Visitor, focus

_SPOKEN = "0555 000 00 01"
"""``PHONE`` as a person would type it."""
assert "".join(_SPOKEN.split())[1:] == PHONE[3:]


def submit(one: Visitor, path: str, **fields: str) -> None:
    """Fill the first form that is posted to a path, which may be a pattern, and post it."""
    pattern = re.compile(rf"{path}(\?.*)?")
    forms = one.page.locator("main form[method=post]")
    for place in range(forms.count()):
        form = forms.nth(place)
        if pattern.fullmatch(form.get_attribute("action") or ""):
            break
    else:
        raise AssertionError(f"no form of {one.path()} is posted to {path}")
    form.evaluate("form => form.closest('details')?.setAttribute('open', '')")
    for name, value in fields.items():
        form.locator(f"[name={name}]").first.fill(value)
    form.locator("button").last.click()
    one.page.wait_for_load_state()


def _found(one: Visitor) -> None:
    one.page.goto("/recipient")
    submit(one, "/recipient", recipient=_SPOKEN)


def _whole(one: Visitor) -> None:
    _found(one)
    one.page.locator("[name=unmask] + button").click()
    one.page.wait_for_load_state()


def _after(first: Reach, *then: str, **fields: str) -> Reach:
    """Return how to reach a page by forms of the pages before it."""

    def reach(one: Visitor) -> None:
        first(one)
        for path in then:
            submit(one, path, **(fields if path is then[-1] else {}))

    return reach


def _at(path: str) -> Reach:
    def reach(one: Visitor) -> None:
        one.page.goto(path)

    return reach


_COLUMNS = "telefon;kanal;durum;kaynak;tarih;marka"
_READABLE = (
    f"{_COLUMNS}\n0555 000 00 01;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}\n"
    f"0555 12;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}\n"
)
_UNREADABLE = "gsm;kanal;Üyelik;Şehir\n0555 000 00 01;SMS;Pasif;İzmir\n"


def _uploaded(text: str) -> Reach:
    def reach(one: Visitor) -> None:
        one.page.goto(f"/imports?customer={CUSTOMER}")
        file = {"name": "crm.csv", "mimeType": "text/csv", "buffer": text.encode()}
        one.page.locator("main [name=file]").set_input_files(file)  # type: ignore[arg-type]
        one.page.locator("main form button.primary").first.click()
        one.page.wait_for_url("**/imports/*")

    return reach


def _checked(one: Visitor) -> None:
    """Have a file checked: the page shows what was found once that is known, by itself."""
    _uploaded(_READABLE)(one)
    one.page.locator("button[value=checking]").click()
    one.page.locator("button[value=importing]").wait_for()


def _imported(one: Visitor) -> None:
    _checked(one)
    one.page.locator("button[value=importing]").click()
    one.page.locator("form[action*='/rows'] button").wait_for()


_CONSENT = {"consent_date": "2026-11-30T10:00:00", "evidence": "Islak imzalı form, klasör 12"}
REACHED: Mapping[str, Reach] = {
    "recipient: found": _found,
    "recipient: unknown": _after(_at("/recipient"), "/recipient", recipient="0555 999 99 99"),
    "recipient: unreadable": _after(_at("/recipient"), "/recipient", recipient="kim?"),
    "recipient: whole": _whole,
    "recipient: confirm": _after(_found, "/recipient/consent/confirm"),
    "recipient: new consent": _after(_found, "/recipient/consent"),
    "recipient: erase": _after(_found, "/recipient/erase"),
    "complaint: look": _after(_at("/complaints/1"), "/complaints/1/look"),
    "subscriber: resend": _after(
        _at("/subscribers/crm"), "/subscribers/crm/resend", since="2026-11-30T10:00:00"
    ),
    "customer: rights": _after(_at("/customers/acme"), "/customers/acme/rights"),
    "worklist: recipients": _after(_at("/worklist?kind=parked"), "/worklist/people"),
    "worklist: plan": _after(_at("/worklist?kind=parked"), "/worklist/plan"),
    "worklist: held back": _after(_at("/worklist?kind=held-back"), "/worklist/plan"),
    "import: columns": _uploaded(_UNREADABLE),
    "import: first rows": _uploaded(_READABLE),
    "import: checked": _checked,
    "import: imported": _imported,
    "import: rows": _after(_imported, "/imports/[0-9a-f]+/rows"),
    "months: of a customer": _at("/months?customer=acme"),
    "refused": _at("/customers/nobody"),
}
"""Pages that no link leads to, by name; reaching one changes nothing."""


def sign_in_by_keyboard(one: Visitor, name: str, password: str) -> None:
    """Sign in with a password."""
    one.page.goto("/sign-in")
    one.page.keyboard.type(name)
    one.page.keyboard.press("Tab")
    one.page.keyboard.type(password)
    one.page.keyboard.press("Enter")
    one.page.wait_for_url(f"{one.site.url}/")


def _why_no_message(one: Visitor) -> None:
    """Find out why a person cannot be written to."""
    focus(one, "Alıcı", role="a")
    one.page.keyboard.press("Enter")
    one.page.wait_for_url("**/recipient*")
    focus(one, "Telefon", role="input")
    one.page.keyboard.type(_SPOKEN)
    one.page.keyboard.press("Enter")
    one.page.get_by_text("İleti gönderilemez").first.wait_for()


def _release_one(one: Visitor) -> None:
    """Have one parked consent processed again, after its plan."""
    focus(one, "İş listesi", role="a")
    one.page.keyboard.press("Enter")
    one.page.wait_for_url("**/worklist*")
    before = one.page.locator("tbody tr").count()
    focus(one, "Yeniden işleme al", role="button")
    one.page.keyboard.press("Enter")
    one.page.get_by_role("heading", name="Plan").wait_for()
    focus(one, "Uygula", role="button")
    one.page.keyboard.press("Enter")
    one.page.get_by_role("status").wait_for()
    assert one.page.locator("tbody tr").count() == before - 1


def _correct_a_row(one: Visitor) -> None:
    """Correct the row of a file that was refused, and import it."""
    _imported(one)
    focus(one, "Satırları göster ve düzelt", role="button")
    one.page.keyboard.press("Enter")
    one.page.get_by_role("heading", name="Satırları düzelt").wait_for()
    focus(one, "telefon", role="input")
    one.page.keyboard.type("0555 000 00 02")
    focus(one, "Kaydet ve düzeltilenleri aktar", role="button")
    one.page.keyboard.press("Enter")
    one.page.get_by_text("Düzeltilecek satır kalmadı.").wait_for()


def _choose_language(one: Visitor) -> None:
    """Read the console in English, and leave it."""
    focus(one, "English", role="button")
    one.page.keyboard.press("Enter")
    one.page.get_by_role("link", name="Overview").wait_for()
    focus(one, "Sign out", role="button")
    one.page.keyboard.press("Enter")
    one.page.wait_for_url("**/sign-in")


TASKS: Mapping[str, Callable[[Visitor], None]] = {
    "why no message": _why_no_message,
    "release one consent": _release_one,
    "correct a refused row": _correct_a_row,
    "choose the language and sign out": _choose_language,
}
"""Tasks that are done by keyboard alone, in Turkish; each ends where it is seen to be done."""
