"""A process is silent where this one has watched it show no progress, for long enough."""

from izin.sinks.ledger.db.leases import Silence


def silent(watched: list[tuple[float, dict[str, int]]]) -> list[str]:
    """Return who is silent at the last of these readings."""
    silence, found = Silence(after=10.0, longest_gap=4.0), []
    for now, beats in watched:
        found = silence.of(beats, now)
    return found


def test_heart_that_does_not_beat_for_ten_seconds_is_silent():
    """Its process is frozen, or its host was powered off."""
    assert silent([(now, {"1": 7}) for now in (0.0, 3.0, 6.0, 9.0)]) == []
    assert silent([(now, {"1": 7}) for now in (0.0, 3.0, 6.0, 9.0, 10.0)]) == ["1"]


def test_a_beat_in_between_ends_the_silence():
    """However slow it is."""
    assert silent([(0.0, {"1": 7}), (4.0, {"1": 7}), (8.0, {"1": 8}), (12.0, {"1": 8})]) == []


def test_what_was_not_watched_is_no_silence():
    """This process was frozen itself, or the database was away: nobody could show anything."""
    assert silent([(0.0, {"1": 7}), (60.0, {"1": 7}), (62.0, {"1": 7})]) == []


def test_process_that_returns_under_its_number_begins_anew():
    """It was forgotten in between."""
    assert silent([(0.0, {"1": 7}), (4.0, {}), (8.0, {"1": 7}), (11.0, {"1": 7})]) == []
