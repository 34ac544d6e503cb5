"""The rooms that a call goes through."""

import subprocess
import sys

import pytest

from tests.support.source_tree import ROOT
from tools.hand_overs import Way

PUSH = "tests/unit/sinks/inbound/test_sweep.py"


def test_return_is_a_room_that_the_way_has_left_before() -> None:
    """Several calls within a room are one stay."""
    way = Way()
    for room in ("a", "a", "b", "b", "a", "c", "a", "b"):
        way.enter(room)
    assert (way.rooms, way.returns) == (["a", "b", "a", "c", "a", "b"], 3)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        # It waits for the ledger, and for nobody else's task.
        (
            "izin.sinks.inbound.push:AcceptedCredentials.admits",
            "hand-overs: 0, returns: 0",
        ),
        ("izin.sinks.inbound.push:Nowhere.called", "was not called"),
    ],
)
def test_command_prints_the_way_of_a_call_in_a_test(call: str, expected: str) -> None:
    """What waits and goes on is one call."""
    ran = subprocess.run(
        [sys.executable, "-m", "tools.hand_overs", PUSH, "--call", call],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in ran.stdout + ran.stderr
    assert (ran.returncode == 0) is ("returns" in expected)
