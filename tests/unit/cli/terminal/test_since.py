"""Since when something counts, as a person writes it."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from izin.cli.terminal import begin_of

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("P1D", NOW - timedelta(days=1)),
        ("2026-03-02T12:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
    ],
)
def test_since_counts_from_what_is_written(text: str, expected: datetime) -> None:
    """An instant without an offset is Turkish."""
    assert begin_of(text, NOW) == expected


@pytest.mark.parametrize("text", ["3x", "", "-1d", "9999999d", "99999999999d", "P9999Y", "dün"])
def test_anything_else_names_every_form(text: str) -> None:
    """Also what lies before all years."""
    with pytest.raises(typer.BadParameter, match="24h, 7d, P1D or 2026-03-02T12:00"):
        begin_of(text, NOW)
