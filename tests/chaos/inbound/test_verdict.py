"""The checks of the inbound campaign: each finds what is wrong, and nothing else."""

from collections import Counter
from dataclasses import replace
from hashlib import sha384
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.inbound.__main__ import (
    OPTED_IN,
    InboundVerdict,
    RecordedFact,
    expected_events,
    judge,
    report,
    wrong_about_file,
    wrong_about_sweep,
)
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import NOON
from tests.support.hostile.inputs import a_movement

PULLED = RecordedFact(event_id="a", what="pull/IYS/a")
DAILY = RecordedFact(event_id="a", what="daily/IYS/a")
APPLIED = RecordedFact(event_id="a", what="Apply")
STALE = RecordedFact(event_id="a", what="Stale")


@pytest.mark.parametrize(
    ("facts", "missing", "double"),
    [
        ([PULLED, APPLIED], [], []),
        ([PULLED, APPLIED, STALE, DAILY], [], []),
        ([APPLIED], ["a"], []),
        ([PULLED], ["a"], []),
        ([DAILY, APPLIED], ["a"], []),
        ([PULLED, PULLED, APPLIED], [], ["a"]),
        ([PULLED, APPLIED, APPLIED], [], ["a"]),
    ],
    ids=[
        "once",
        "repeated",
        "not-pulled",
        "undecided",
        "file-only",
        "twice-pulled",
        "applied-twice",
    ],
)
def test_movement_that_is_missing_or_double_is_found(
    facts: list[RecordedFact], missing: list[str], double: list[str]
):
    """A repetition that was found stale is none: it changed nothing."""
    found = judge({"a"}, facts, {}, {})
    assert (found.missing, found.double, found.differing) == (missing, double, [])


def test_key_of_which_the_ledger_says_something_else_is_found():
    """Another status, and one that only one of both has."""
    found = judge((), (), {"a": "RET", "b": "ONAY", "c": "RET"}, {"a": "RET", "b": "RET"})
    assert [one.partition(":")[0] for one in found.differing] == ["b", "c"]


def test_movements_of_citizens_alone_are_expected():
    """One event each, however often İYS lists it."""
    ours = {**a_movement("+905550000001"), "source": "HS_WEB"}
    rows = [a_movement("+905550000001"), a_movement("+905550000001"), ours]
    assert len(expected_events(rows, ACTIVE, NOON)) == 1


RIGHT = judge({"a"}, [PULLED, APPLIED], {}, {})


@pytest.mark.parametrize(
    ("verdict", "figures", "failures"),
    [
        (RIGHT, (0, 0, 0), 0),
        (judge({"a"}, [], {}, {}), (1, 0, 0), 0),
        (judge({"a"}, [PULLED, PULLED, APPLIED], {}, {}), (0, 1, 0), 0),
        (judge({"a"}, [PULLED, APPLIED], {}, {"k": "RET"}), (0, 0, 1), 0),
        (replace(RIGHT, failed=["sink-0 ended"]), (0, 0, 0), 1),
        (judge((), (), {}, {}), (0, 0, 0), 1),
    ],
    ids=["right", "missing", "double", "differs", "ended", "nobody-acted"],
)
def test_campaign_is_short_for_each_fault(
    verdict: InboundVerdict, figures: tuple[int, ...], failures: int
):
    """Also where a process ended by itself, and where nothing happened."""
    campaign: Any = SimpleNamespace(citizens=1, seed=1, injected=Counter())
    found = report(campaign, verdict, seconds=1)
    assert (tuple(found.figures.values()), len(found.failures)) == (figures, failures)


def test_interrupted_file_that_is_not_whole_is_found() -> None:
    """Cut off, doubled, or altered."""
    content = b"line\n" * OPTED_IN
    digest = sha384(b"head\n" + content).hexdigest()
    fields: Any = {"lines": OPTED_IN, "hashed_prefix": b"head\n", "hash_value": digest}
    file: Any = SimpleNamespace(**fields)
    contents = (content, content * 2, content.replace(b"l", b"L", 1))
    assert [len(wrong_about_file(file, one)) for one in contents] == [0, 2, 1]


def test_interrupted_sweep_that_counts_a_page_twice_is_found() -> None:
    """In its row, or in the history alone."""
    sweep: Any = SimpleNamespace(counts=SimpleNamespace(queried=OPTED_IN))
    assert [len(wrong_about_sweep(sweep, OPTED_IN + more)) for more in (0, 1000)] == [0, 1]
