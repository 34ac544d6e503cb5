"""The checks of the campaign of late ends: each finds what is wrong, and nothing else."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.chaos.late.__main__ import End, LateVerdict, LateWriter, report, wrong
from tests.support.proxy import Loss


@pytest.mark.parametrize(
    ("visible", "faults"),
    [
        (["0/0/1"], []),
        ([], ["0/0/1 is committed, its records are visible [0, 0] times", "committed 0 times"]),
        (["0/0/1", "0/0/0"], ["0/0/0 is aborted", "0/0 was committed 2 times"]),
        (["0/0/1", "0/0/1"], ["0/0/1 is committed, its records are visible [2, 2] times"]),
        (["0/0/1", "7/7/7"], ["7/7/7 is nobody's"]),
    ],
    ids=["as-believed", "lost", "aborted", "doubled", "unknown"],
)
def test_verdict_finds_what_is_not_as_believed(visible: list[str], faults: list[str]) -> None:
    """A check that cannot fail says nothing."""
    keys = [f"{own}/{part}".encode() for own in visible for part in range(2)]
    found = wrong([a_writer()], keys)
    assert len(found) == len(faults)
    assert all(one in other for one, other in zip(faults, found, strict=True))


def test_verdict_finds_a_transaction_that_was_ended_early() -> None:
    """The part that was written before the late end is visible, the other one is not."""
    assert wrong([a_writer()], [b"0/0/1/0"]) == (
        "0/0/1 is committed, its records are visible [1, 0] times",
    )


def a_writer() -> LateWriter:
    """Return a writer whose only transaction was committed at the second attempt."""
    unused: Any = None
    return LateWriter(
        number=0,
        settings=unused,
        bootstrap_servers="",
        proxy=unused,
        random=unused,
        ends={"0/0/0": End.ABORTED, "0/0/1": End.COMMITTED},
        wanted={"0/0"},
    )


def test_losses_and_answers_are_in_the_report() -> None:
    """In the table and in JSON, with the seed that repeats them."""
    verdict = LateVerdict(
        transactions=2,
        losses=Counter({Loss.LATE: 2}),
        partitions_added_late=1,
        late_answers=Counter({47: 2}),
        wrong=(),
    )
    found = report(verdict, seed=5, seconds=1)
    assert found.tables[0] == "seed 5: 2 transactions in 1 s"
    data = json.loads(json.dumps(dict(found.data)))
    assert (data["losses"], data["late_answers"]) == ({"delivered late": 2}, {"error 47": 2})
