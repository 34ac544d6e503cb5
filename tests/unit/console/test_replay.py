"""The parts of ``izin replay`` that need no server."""

import pytest
import typer

from izin.consent.errors import SourceError
from izin.console.replay import progress
from izin.console.replay.kinds import kind_of
from izin.console.replay.selection_options import selection_of
from izin.replay.errors import EmptySelectionError
from izin.replay.plan import DESIRED_CONSENTS, REBUILD
from izin.replay.selection import Selection
from tests.support.builders import NOON, PHONE, a_key

NOTHING = {
    "since": None,
    "until": None,
    "recipients": None,
    "brands": None,
    "customers": None,
    "origins": None,
    "offsets": None,
}


def test_options_make_a_selection() -> None:
    """Recipients in any notation, keys, and ranges of offsets; without options everything."""
    assert selection_of(**NOTHING) == Selection()
    key = str(a_key())
    found = selection_of(
        **NOTHING
        | {
            "since": NOON,
            "recipients": ["0555 000 00 01", key],
            "brands": [100001],
            "offsets": ["consent-events/2:5-9"],
        }
    )
    assert found == Selection(
        since=NOON,
        keys=frozenset({key}),
        recipients=frozenset({PHONE}),
        brands=frozenset({100001}),
        offsets={("consent-events", 2): (5, 9)},
    )


@pytest.mark.parametrize("text", ["consent-events", "consent-events/x:1-2", "consent-events/1:2"])
def test_wrong_range_of_offsets_is_wrong_usage(text: str) -> None:
    """The message has the notation."""
    with pytest.raises(typer.BadParameter, match="TOPIC/PARTITION:FIRST-BEHIND"):
        selection_of(**NOTHING | {"offsets": [text]})
    with pytest.raises(EmptySelectionError):
        selection_of(**NOTHING | {"offsets": ["consent-events/1:9-2"]})


def test_unreadable_line_of_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number, not by what it says."""
    monkeypatch.setattr("sys.stdin", [PHONE, "", "nobody"])
    with pytest.raises(SourceError, match="standard input, line 3"):
        selection_of(**NOTHING | {"recipients": ["-"]})


def test_plan_of_an_unknown_kind_is_refused() -> None:
    """It may be of another release."""
    assert kind_of(REBUILD, DESIRED_CONSENTS)
    with pytest.raises(SourceError, match="no divination of tea"):
        kind_of("divination", "tea")


def test_progress_says_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, a line every ten seconds."""
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.showing("reading") as shown:
        shown(0, 1000)
        now = 105.0
        shown(100, 1000)
        now = 110.0
        shown(200, 1000)
    assert capsys.readouterr().err == "reading: 200 of 1,000, 20/s, 40 s left\n"
