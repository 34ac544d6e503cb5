"""Plots: what is drawn says what the table does, and the file is one that Excel opens."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from izin.views.i18n import Language
from izin.web.pages import _environment
from izin.web.plots import BOTTOM, LEFT, RIGHT, TOP, Caption, Plot, PlotSeries, bar_plot, line_plot

CAPTION = Caption("sales", "Title", "Text", "Day")
NOON = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAYS = [date(2026, 3, 1), date(2026, 3, 2)]
TR = Language.TURKISH


def bars(*values: tuple[int, int]) -> Plot:
    """Return a plot of two days, of these series."""
    series = [PlotSeries(f"s{number}", one) for number, one in enumerate(values)]
    return bar_plot(CAPTION, DAYS, series, TR)


def as_page(plot: Plot) -> str:
    """Return a plot as a page has it."""
    page = '{% import "plot.html" as plots %}{{ plots.plot(one, address) }}'
    template = _environment(TR).from_string(page)
    return template.render(one=plot, address=lambda path, plot: f"{path}?{plot}")


def test_bars_stand_one_upon_the_other():
    """In proportion to their values, none for nothing, and without a gap between them."""
    plot = bars((1, 0), (3, 4))
    first, second, third = plot.bars
    assert (first.tone, second.tone, third.tone) == ("first", "second", "second")
    assert second.height == pytest.approx(3 * first.height, abs=0.2)
    assert second.y + second.height == pytest.approx(first.y, abs=0.2)
    assert third.y == second.y == TOP
    assert first.y + first.height == BOTTOM
    assert first.x + first.width < third.x


def test_scale_has_round_ticks_from_nothing():
    """The highest bar fits below the last."""
    plot = bars((7, 130), (0, 1))
    assert [one.text for one in plot.y_ticks] == ["0", "50", "100", "150"]
    assert bars((0, 0)).bars == ()
    assert [one.text for one in bars((0, 0)).y_ticks] == ["0", "1"]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=5))
def test_all_marks_are_within_the_plot(values: list[tuple[int, int]]):
    """Whatever the values."""
    plot = bars(*values)
    for bar in plot.bars:
        assert LEFT <= bar.x <= bar.x + bar.width <= RIGHT
        assert TOP - 0.1 <= bar.y <= bar.y + bar.height <= BOTTOM + 0.2
    assert len(plot.y_ticks) <= 6


def test_lines_run_from_the_first_instant_to_the_last():
    """Each with a point for every instant."""
    instants = [NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=4)]
    plot = line_plot(
        CAPTION, instants, [PlotSeries("a", [0, 10, 10]), PlotSeries("b", [0, 0, 4])], TR
    )
    first, second = plot.lines
    assert first.points.split() == [f"{LEFT}.0,{BOTTOM}.0", f"185.0,{TOP}.0", f"{RIGHT}.0,{TOP}.0"]
    assert (first.tone, second.tone) == ("first", "second")
    assert [(one.at, one.anchor) for one in plot.x_ticks] == [(LEFT, "start"), (RIGHT, "end")]


@pytest.mark.parametrize("count", [0, 1])
def test_line_of_no_time_is_none(count: int):
    """A page says that there is nothing to show."""
    plot = line_plot(CAPTION, [NOON] * count, [PlotSeries("a", [1] * count)], TR)
    assert plot.lines == ()
    assert "Gösterilecek bir şey yok." in as_page(plot)


def test_file_is_one_that_turkish_excel_opens():
    """A byte order mark, ``;`` between cells, days and instants in Turkish time."""
    assert bars((7, 1300)).csv == "\ufeffDay;s0\r\n01.03.2026;7\r\n02.03.2026;1300\r\n".encode()
    plot = line_plot(CAPTION, [NOON], [PlotSeries("a", [1])], TR)
    assert plot.csv.decode("utf-8-sig") == "Day;a\r\n02.03.2026 12:00;1\r\n"


def test_page_has_the_picture_in_words_and_as_a_table():
    """For who cannot see it; nothing is styled or run inline."""
    page = as_page(bars((1, 1300), (3, 4)))
    assert 'role="img" aria-labelledby="sales-title sales-text"' in page
    assert '<title id="sales-title">Title</title>' in page
    assert '<desc id="sales-text">Text</desc>' in page
    assert "<caption>Title</caption>" in page
    assert '<td role="cell" data-title="s0" class="number">1.300</td>' in page
    assert "1 Mar" in page
    assert 'href="/plots.csv?sales"' in page
    assert "style=" not in page
    assert "<script" not in page
