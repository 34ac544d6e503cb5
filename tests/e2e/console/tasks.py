"""What people do in the console: pages that forms lead to, and tasks by keyboard alone."""

import itertools
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from playwright.sync_api import expect

from izin.consent import TURKEY
from tests.support.builders import PHONE
from tests.support.console.browsing import Reach, Visitor, focus

_ROWS = itertools.count()
"""Each file that is uploaded has other recipients: one that was imported is not imported again."""
_ASKED = 40
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


def _uploaded(one: Visitor) -> None:
    """Upload an address book, with a row whose source nobody knows, which is refused."""
    one.page.goto("/imports")
    first = next(_ROWS) * 10
    when = (datetime.now(TURKEY) - timedelta(hours=3)).strftime("%d.%m.%Y %H:%M:%S")
    rows = [
        f"0555 700 {first // 100:02} {first % 100 + number:02};SMS;ONAY;{source};{when};100001"
        for number, source in enumerate(("HS_WEB", "HS_MOBIL", "Fuar standı", "HS_WEB"))
    ]
    content = "\n".join(["telefon;kanal;durum;kaynak;tarih;marka", *rows, ""])
    one.page.locator("#of").select_option("acme")
    one.page.locator("#file").set_input_files(
        {"name": "adres-defteri.csv", "mimeType": "text/csv", "buffer": content.encode()}
    )
    one.page.locator("main form[enctype] button").click()
    one.page.locator("button[name=stage][value=checking]").first.wait_for()


def _checked(one: Visitor) -> None:
    _uploaded(one)
    one.page.locator("button[name=stage][value=checking]").first.click()
    one.page.locator("button[name=stage][value=importing]").wait_for()


def _imported(one: Visitor) -> None:
    _checked(one)
    one.page.locator("button[name=stage][value=importing]").click()
    one.page.locator("form[action*='/rows'] button").wait_for()


def _made(one: Visitor) -> None:
    """Have the report of a month made, and wait for it."""
    one.page.goto("/months?customer=acme")
    submit(one, "/months/make")
    for _ in range(_ASKED):
        if one.page.locator("a[href*='/months/file']").count():
            return
        one.page.wait_for_timeout(500)
        one.page.goto("/months?customer=acme")
    raise AssertionError("the report is not made")


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
    "import: columns": _uploaded,
    "import: checked": _checked,
    "import: imported": _imported,
    "import: rows": _after(_imported, "/imports/[^/]+/rows"),
    "worklist: recipients": _after(_at("/worklist?kind=parked"), "/worklist/people"),
    "worklist: plan": _after(_at("/worklist?kind=parked"), "/worklist/plan"),
    "worklist: held back": _after(_at("/worklist?kind=held-back"), "/worklist/plan"),
    "months: of a customer": _made,
    "refused": _at("/customers/nobody"),
}
"""Pages that no link leads to, by name: each can be reached again and again."""


def sign_in_by_keyboard(one: Visitor, name: str, password: str) -> None:
    """Sign in with a password."""
    one.page.goto("/sign-in")
    # The browser gives the field its focus with the first frame, which may come after the load.
    expect(one.page.locator("#name")).to_be_focused()
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
    "choose the language and sign out": _choose_language,
}
"""Tasks that are done by keyboard alone, in Turkish; each ends where it is seen to be done."""
