"""A plan: written, read back, and refused once it was edited, or something has moved."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from izin.runtime.plan import (
    Bounds,
    OtherPlanError,
    Plan,
    PlanMovedError,
    PrivateLines,
    Selection,
    UnreadablePlanError,
    lines_of,
    work_folder,
    write_private,
)

_AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
_KEY = "600001/MESAJ/BIREYSEL/+905000000001"


def _plan(**changes: object) -> Plan:
    plan = Plan(
        kind="rebuild",
        target="desired-consents",
        selection=Selection(brands=frozenset({600001})),
        options={"workers": 2},
        cluster_id="a-cluster",
        topics={
            "consent-events": Bounds(
                topic_id="one", starts={0: 3}, ends={0: 9}, stands_still=False
            ),
            "desired-consents": Bounds(
                topic_id="two", starts={0: 0}, ends={0: 4}, stands_still=True
            ),
        },
        history={3: 12},
        closed_days=(date(2026, 5, 18),),
        made_at=_AT,
        by="an operator",
    )
    return replace(plan, **changes)  # type: ignore[arg-type]  # fields of a plan


def _with(plan: Plan, topic: str, **changes: object) -> Plan:
    moved = replace(plan.topics[topic], **changes)  # type: ignore[arg-type]  # fields of its bounds
    return replace(plan, topics={**plan.topics, topic: moved})


def test_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """Nothing of it is lost, and only its owner may read it."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    assert Plan.read(path) == _plan()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"an operator", b"a stranger", "edited"),
        (b'"format": 2', b'"format": 1', "format is 1"),
        (b"{", b"[", "no plan"),
        (b'"digest"', b'"hash"', "no plan"),
    ],
)
def test_edited_plan_is_refused(tmp_path: Path, before: bytes, after: bytes, why: str) -> None:
    """The file says why it cannot be used."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    with pytest.raises(UnreadablePlanError, match=why):
        Plan.read(path)


def test_plan_of_something_else_is_refused(tmp_path: Path) -> None:
    """By its kind or its target, and it is named as what it is."""
    path = tmp_path / "plan.json"
    _plan().write(path)
    assert Plan.read(path, kind="rebuild", target="desired-consents") == _plan()
    for other in ({"kind": "reconcile"}, {"kind": "rebuild", "target": "ledger"}):
        with pytest.raises(OtherPlanError, match="the plan of rebuild desired-consents"):
            Plan.read(path, **other)


def test_lines_beside_a_plan_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Edited or gone, they are refused; only their owner may read them."""
    path = tmp_path / "lines"
    with PrivateLines(path) as lines:
        for line in (b"one\n", b"two\n"):
            lines.add(line)
        digest = lines.complete()
    assert list(lines_of(path, digest)) == [b"one\n", b"two\n"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"one\ntwo \n")
    with pytest.raises(UnreadablePlanError, match="edited"):
        list(lines_of(path, digest))
    with pytest.raises(UnreadablePlanError, match="cannot be read"):
        list(lines_of(tmp_path / "gone", digest))


def test_file_that_is_not_completed_replaces_nothing(tmp_path: Path) -> None:
    """What was there stays whole."""
    path = tmp_path / "file"
    write_private(path, [b"before"])

    def parts() -> Iterator[bytes]:
        yield b"after"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_private(path, parts())
    assert path.read_bytes() == b"before"


def test_plan_stands_while_only_inputs_grow() -> None:
    """What is appended behind the part that is read changes nothing."""
    _plan().check(_with(_plan(), "consent-events", starts={0: 3}, ends={0: 99}))


@pytest.mark.parametrize(
    ("now", "moved"),
    [
        (_with(_plan(), "desired-consents", ends={0: 5}), r"desired-consents/0 ends at 5"),
        (_with(_plan(), "consent-events", ends={0: 8}), r"consent-events/0 ends at 8, not 9"),
        (_with(_plan(), "consent-events", starts={0: 4}), r"consent-events/0 begins at 4"),
        (_with(_plan(), "consent-events", topic_id="new"), "consent-events was created again"),
        (_with(_plan(), "consent-events", ends={0: 9, 1: 0}), "2 partitions"),
        (_plan(law_version=99), "the law has version 99"),
        (_plan(closed_days=()), "IZIN_EXTRA_CLOSED_DAYS"),
        (_plan(cluster_id="another"), "the cluster is another"),
        (_plan(history={3: 11}), "shard 3 of the history ends at 11"),
    ],
)
def test_plan_is_refused_once_something_moved(now: Plan, moved: str) -> None:
    """Each thing that a plan relies on is named where it has changed."""
    with pytest.raises(PlanMovedError, match=moved):
        _plan().check(now)


def test_work_is_beside_the_plan_and_private(tmp_path: Path) -> None:
    """Its folder has names of recipients."""
    folder = work_folder(tmp_path / "plan.json")
    assert folder == work_folder(tmp_path / "plan.json")
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("selection", "is_taken"),
    [
        (Selection(), True),
        (Selection(keys=frozenset({_KEY})), True),
        (Selection(keys=frozenset({"another"})), False),
        (Selection(recipients=frozenset({"+905000000001"})), True),
        (Selection(recipients=frozenset({"+905000000002"})), False),
        (Selection(recipients=frozenset({"+905000000002"}), keys=frozenset({_KEY})), True),
        (Selection(brands=frozenset({600001}), keys=frozenset({_KEY})), True),
        (Selection(brands=frozenset({600002})), False),
    ],
)
def test_selection_narrows_by_what_is_given(selection: Selection, is_taken: bool) -> None:
    """What is not given leaves everything in."""
    assert selection.takes_key(_KEY) is is_taken
