"""Sentences of two languages: what a command prints, and what a screen says."""

from izin.consent import violation
from izin.views import i18n, remedies
from izin.views.i18n import Language
from izin.views.sentences import Instruction, joined, sentence
from izin.views.worklist import Filter, Group, Need, WorkItem, file_of
from izin.views.worklist_acts import ActPlan, WorkAct
from tests.support.builders import BRAND, NOON, PHONE, a_brake


def test_sentence_says_a_command_to_who_types_and_a_place_to_who_looks():
    """With instants as each language writes them, and a violation in its own words."""
    said = sentence(
        "%(why)s (%(code)s)",
        why=violation("date", "H157"),
        code=sentence(
            "once its reason is gone: %(resume)s", resume=Instruction("izin x", "see Deadlines")
        ),
    )
    assert str(said) == "there is no such date (once its reason is gone: izin x)"
    assert i18n.text(Language.TURKISH, said) == (
        "Böyle bir tarih yok. (nedeni ortadan kalkınca: Süreler ekranına bakın)"
    )
    at = joined(sentence("the brand %(brand)s", brand=NOON), sentence("opt-outs"))
    assert str(at) == "the brand 02.03.2026 12:00:00; opt-outs"
    assert i18n.text(Language.TURKISH, at) == "2 Mar 2026 12:00 markası; ret"


def test_command_without_a_screen_is_said_on_screens_too():
    """Who looks asks somebody who types."""
    said = sentence("see %(explain)s", explain=Instruction("izin brands retailers 7"))
    assert i18n.text(Language.TURKISH, said) == "ayrıntı: izin brands retailers 7"


def test_what_is_held_back_is_said_as_it_always_was():
    """The sentence of ``izin held-back`` and of the doctor."""
    assert str(remedies.held_back(a_brake())) == (
        f"5 opt-outs of crm for brand {BRAND} are held back since 02.03.2026 12:00:00, the first "
        "until 04.03.2026 12:00:00: 5 within an hour beside 15 opt-ins, over 20 %"
    )
    turkish = i18n.text(Language.TURKISH, remedies.held_back(a_brake()))
    assert "izin verilen pay %20 aşıldı" in turkish


def an_item(**fields: object) -> WorkItem:
    """Return a parked opt-in."""
    usual: dict[str, object] = {
        "kind": Need.PARKED,
        "id": f"{BRAND}/MESAJ/BIREYSEL/{PHONE}",
        "brand_code": BRAND,
        "recipient": PHONE,
        "reason": "reconsent",
        "why": remedies.why_parked("reconsent", None),
        "remedy": remedies.remedy_of_parked(BRAND, "reconsent", key="RECIPIENT"),
        "since": NOON,
        "event_id": "event-1",
    }
    return WorkItem(**{**usual, **fields})  # type: ignore[arg-type]


def test_file_opens_in_turkish_excel_and_evaluates_nothing():
    """BOM and semicolons; what a spreadsheet could compute is a text; recipients are masked."""
    evil = an_item(recipient="=HYPERLINK(1)", kind=Need.UNREADABLE, why=sentence("parked"))
    content = file_of([an_item(), evil], Language.TURKISH, is_shown=True)
    header, first, second = content.decode("utf-8-sig").splitlines()
    assert content.startswith(b"\xef\xbb\xbf")
    assert header.split(";")[:4] == ["tür", "marka", "kanal", "alıcı"]
    assert f";'{PHONE};" in first
    assert ";'=HYPERLINK(1);" in second
    hidden = file_of([an_item()], Language.TURKISH, is_shown=False).decode()
    assert PHONE not in hidden
    assert "+90***01" in hidden


def test_plan_of_other_rows_has_another_digest():
    """A row that changed, or another act, is another plan."""
    plans = [
        ActPlan(act=act, items=[an_item(event_id=event)], lines=[], is_whole=False)
        for act, event in ((WorkAct.REQUEUE, "a"), (WorkAct.REQUEUE, "b"), (WorkAct.RETRY, "a"))
    ]
    assert len({one.digest for one in plans}) == 3
    assert (
        plans[0].digest
        == ActPlan(
            act=WorkAct.REQUEUE, items=[an_item(event_id="a")], lines=[], is_whole=False
        ).digest
    )


def test_filter_takes_what_has_all_that_it_names():
    """Kind, brand and reason; what it does not name is any."""
    group = Group(Need.PARKED, BRAND, "reconsent", 7)
    assert Filter().takes(group)
    assert Filter(kind=Need.PARKED, brand_code=BRAND, reason="reconsent").takes(group)
    assert not Filter(kind=Need.PARKED, reason="quota-spent").takes(an_item())
