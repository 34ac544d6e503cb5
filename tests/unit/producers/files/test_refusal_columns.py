"""A column that says who refused is never read as one that says who consented."""

import pytest

from izin.consent import Channel
from izin.producers.files import ColumnChoices, ColumnsError
from izin.producers.files.choices import channel_field_of, says_who_refused
from izin.producers.files.columns import column_meanings
from izin.producers.mapping.field_names import Field
from tests.support.builders import BRAND
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.fakes import FakePublisher
from tests.unit.producers.files.test_status_names import DATE, a_file

GIVEN = {"kanal": "SMS", "kaynak": "HS_WEB", "marka": str(BRAND)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((one, True) for one in ("Kara Liste", "SMS istemiyor", "RET", "Ret Durumu", "Red")),
        *((one, True) for one in ("İzin İptali", "opt-out", "Unsubscribed", "İzinsiz", "Engelli")),
        *((one, False) for one in ("Durum", "İzin", "onay/ret", "İzin-Ret", "Onay(1)-Ret(0)")),
        *((one, False) for one in ("izin/ret tarihi", "consent", "SMS izni")),
    ],
)
def test_name_says_who_refused(name: str, expected: bool):
    """Or which of the two statuses a row has."""
    assert says_who_refused(name) is expected


def test_no_name_that_is_known_says_who_refused():
    """Else its words would have no meaning."""
    for channel in Channel:
        for held in ("izni", "izin durumu", "onay tarihi"):
            name = f"{channel} {held}"
            assert channel_field_of(name) is not None
            assert not says_who_refused(name)
    known = ("izin durumu", "durum", "onay durumu", "onay(1)-ret(0)", "onay/ret", "izin var mı")
    for name in known:
        (found,) = column_meanings([name], ColumnChoices())
        assert found.held is Field.STATUS
        assert not says_who_refused(name)


@pytest.mark.parametrize("yes", ["Evet", "1", "✓", "E", "TRUE"])
def test_yes_among_refusals_is_what_the_caller_says(
    import_lines: ImportOf, fake: FakePublisher, yes: str
):
    """Without that nothing is read; words that name an opt-out have their meaning."""
    lines = a_file("Kara Liste", yes, "RET", "onaylı")
    mapped = {"Kara Liste": "durum"}
    with pytest.raises(ColumnsError, match='"Kara Liste" is no known name of a consent'):
        import_lines(*lines, columns=ColumnChoices(mapped=mapped, given=GIVEN))
    choices = ColumnChoices(mapped=mapped, given=GIVEN, values={f"status:{yes}": "RET"})
    done = import_lines(*lines, columns=choices)
    assert (done.refused_unclear, done.reasons) == (1, {"H115": 1})
    assert [one.status for one in fake.events] == ["RET", "RET"]


@pytest.mark.parametrize("held", ["SMS izni", "SMS izin tarihi"])
def test_column_of_refusals_is_of_no_channel(import_lines: ImportOf, held: str):
    """There a date alone is a consent."""
    lines = a_file("SMS iptal", DATE)
    given = {"kaynak": "HS_WEB", "marka": str(BRAND)}
    choices = ColumnChoices(mapped={"SMS iptal": held}, given=given)
    with pytest.raises(ColumnsError, match='"SMS iptal" is no known name'):
        import_lines(*lines, columns=choices)
