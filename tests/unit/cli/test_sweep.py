"""A sweep, and counts that differ, in words."""

from typing import Any

import pytest

from izin.cli.iys import TITLES, remedy_of_count, sweep_row, sweep_state
from tests.support.builders import BRAND, NOON
from tests.support.sweep.builders import a_count, a_sweep

ENDED: dict[str, Any] = {"after": None, "ended_at": NOON}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "500 of 2,000 keys, 25%"),
        ({"keys": 0, "queried": 0}, "0 of 0 keys, 0%"),
        ({"keys": 400}, "500 of 400 keys, 100%"),
        (ENDED, "done"),
        ({**ENDED, "is_stopped": True}, "500 of 2,000 keys, 25%; stopped"),
        (
            {"error": "İYS answered statuses with 503", "retry_at": NOON},
            "waits until 02.03.2026 12:00:00, for İYS answered statuses with 503",
        ),
        (
            {"skipped_groups": ("MESAJ/TACIR: H353",)},
            "left out MESAJ/TACIR: H353: give the right back",
        ),
    ],
)
def test_state_of_a_sweep_says_how_far_it_is_and_what_holds_it_up(
    fields: dict[str, Any], words: str
):
    """Keys may have come and gone since they were counted."""
    sweep = a_sweep(**fields)
    assert words in sweep_state(sweep)
    assert len(sweep_row(sweep)) == len(TITLES)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing to do"),
        ({"iys_onay": 11}, "nothing to do"),
        ({"iys_onay": 14}, "İYS holds 4 ONAY that no key here has: only its portal"),
        ({"iys_ret": 9, "onay": 10}, "İYS holds 4 RET"),
        ({"iys_onay": 2}, f"8 ONAY here are not at İYS: izin iys sweep start --brand {BRAND}"),
    ],
)
def test_difference_of_counts_has_a_remedy(fields: dict[str, int], words: str):
    """What was on its way to İYS is none."""
    assert words in remedy_of_count(a_count(**fields))
