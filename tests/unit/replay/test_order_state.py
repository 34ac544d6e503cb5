"""What a rebuild compares: rows in one form, decisions decided again, and what differs."""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from pydantic import SecretStr

from izin.consent import LAW_VERSION, Consent, OurError, decide
from izin.replay.order_state.comparison import (
    Shadow,
    StandingRows,
    StateComparison,
    StateDifference,
    StateDifferenceKind,
    decided_again,
    in_one_form,
)
from izin.replay.order_state.planning import Installation
from izin.replay.processes import Advance, working
from izin.runtime.plan import Plan, PlanMovedError, Selection
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro
from izin.streams.errors import StateError
from tests.support.builders import NOON, a_decision_record, an_admitted_event
from tests.support.order.harness import KEY, ONAY, RET, SUPPRESSIONS, row_of
from tests.support.registry import MemoryRegistry

CODEC = Codec()
INSTALLATION = Installation(
    kafka=KafkaSettings(),
    streams=StreamSettings(
        suppression_secrets=(SecretStr("a fake secret of thirty-two characters"),)
    ),
    codec=CODEC,
)


def a_plan(selection: Selection | None = None) -> Plan:
    """Return a plan that reads nothing."""
    return Plan(
        kind="rebuild",
        target="desired-consents",
        selection=selection or Selection(),
        options={"lost": [], "uncovered": []},
        cluster_id="one",
        topics={},
        made_at=NOON,
        by="ada",
    )


def compare(
    wanted: Consent | None,
    standing: bytes | None,
    *,
    reaches: bool = True,
    suppressed_until: datetime | None = None,
    erased: bool = False,
) -> list[StateDifference]:
    """Return what differs of one key."""
    shadow, found = Shadow(), StandingRows()
    if wanted is not None:
        shadow.state.apply({KEY: shadow.state.packing.pack(wanted)}, 0)
    if erased:
        shadow.erased.add(KEY)
    if standing is not None:
        found.rows[KEY] = standing
    if suppressed_until is not None:
        until = int(suppressed_until.timestamp() * 1000)
        found.suppressions[SUPPRESSIONS.of(KEY)] = until
    comparison = StateComparison(
        installation=INSTALLATION, plan=a_plan(), shadow=shadow, standing=found, reaches=reaches
    )
    changes = list(comparison.changes())
    return [one for one in changes if one.key == KEY]


def test_row_in_another_framing_is_the_same() -> None:
    """And what is no row stays as it is."""
    registered = Codec(MemoryRegistry())
    framed = registered.encode("Consent", consent_to_avro(ONAY))
    assert framed != row_of(ONAY)
    for value in (framed, row_of(ONAY)):
        assert in_one_form(registered, value) == framed
    assert in_one_form(CODEC, row_of(ONAY)) == row_of(ONAY)
    assert in_one_form(CODEC, b"no row") == b"no row"


@pytest.mark.parametrize(
    ("reaches", "expected"),
    [(True, StateDifferenceKind.NEWER), (False, StateDifferenceKind.UNJUDGED)],
)
def test_newer_row_is_never_replaced(*, reaches: bool, expected: StateDifferenceKind) -> None:
    """It stays, whether or not the events behind it can still be read."""
    (change,) = compare(ONAY, row_of(RET), reaches=reaches)
    assert (change.kind, change.row) == (expected, None)


def test_older_row_is_replaced_and_loses_nothing() -> None:
    """Where events are gone, the latest opt-out that only the old row knows is kept."""
    (change,) = compare(RET, row_of(ONAY))
    assert (change.kind, change.row) == (StateDifferenceKind.DIFFERING, row_of(RET))
    earlier = NOON - timedelta(days=1)
    older = replace(ONAY, latest_ret_at=earlier)
    later = replace(ONAY, effective_at=NOON + timedelta(hours=1), event_id="later")
    (change,) = compare(later, row_of(older), reaches=False)
    assert change.row is not None
    assert CODEC.decode_consent(change.row).latest_ret_at == earlier


def test_row_of_an_erased_key_does_not_come_back() -> None:
    """An opt-out that is still in a lane, though its erasure is no more: the suppression shows it;
    unless the decisions show that the opt-out came later.
    """
    until = RET.effective_at + timedelta(hours=1)
    (change,) = compare(RET, None, suppressed_until=until)
    assert (change.kind, change.row) == (StateDifferenceKind.UNJUDGED, None)
    (change,) = compare(RET, None, suppressed_until=RET.effective_at - timedelta(hours=1))
    assert change.kind is StateDifferenceKind.MISSING
    (change,) = compare(RET, None, suppressed_until=until, erased=True)
    assert change.kind is StateDifferenceKind.MISSING


def test_decisions_decided_again_give_the_same_state() -> None:
    """In any order, with repetitions of the same coordinates ignored; violations stay."""
    events = [
        an_admitted_event(
            event_id=f"event-{number}",
            status="RET" if number % 3 == 0 else "ONAY",
            consent_date=NOON - timedelta(minutes=number * 7 % 5),
        )
        for number in range(9)
    ]
    current: Consent | None = None
    records = []
    for offset, event in enumerate(events):
        decision = decide(current, event)
        current = decision.consent
        records.append(CODEC.encode("Decision", a_decision_record(decision, offset=offset)))
    decisions = [CODEC.decode("Decision", one) for one in records]
    assert decided_again(decisions) == current
    assert decided_again([*decisions, decisions[0]]) == current
    assert decided_again(Random(19).sample(decisions, len(decisions))) == current


def test_row_of_a_newer_law_is_not_judged() -> None:
    """It was decided by a release that knows more."""
    with pytest.raises(StateError, match="newer release"):
        compare(RET, row_of(replace(ONAY, law_version=LAW_VERSION + 1)))


def test_derived_field_that_is_wrong_is_found() -> None:
    """No state has the previous status, but readers of the topic do; other bytes of the same
    content are no difference.
    """
    wrong = CODEC.encode("Consent", {**consent_to_avro(ONAY), "previous_status": "RET"})
    (change,) = compare(ONAY, wrong)
    assert change.kind is StateDifferenceKind.DIFFERING
    assert change.fields == {"previous_status": ("RET", None)}
    assert compare(ONAY, row_of(ONAY)) == []
    longer = row_of(ONAY)[:-1] + bytes((row_of(ONAY)[-1] | 0x80, 0))
    assert CODEC.decode_consent(longer) == ONAY
    assert compare(ONAY, longer) == []


def die(*_: object) -> None:
    """End the process at once, as the system does for want of memory."""
    os._exit(9)


def test_process_that_dies_ends_the_command() -> None:
    """It would wait for its work for ever."""
    with working(die, (), [0], 1) as running, pytest.raises(OurError, match="--processes"):
        running.finish(lambda _: None)


class LoadlessError(Exception):
    """Cannot come back from another process."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def add(most: int, number: int, advance: Advance) -> int:
    """Advance by a number, and return its double."""
    if number == most + 1:
        raise PlanMovedError(["too much"])
    if number > most:
        raise LoadlessError("by ", "far")
    advance(number)
    return 2 * number


def test_work_of_processes_is_counted_and_its_errors_are_raised() -> None:
    """Whatever process a piece is done by."""
    with working(add, (3,), [1, 2, 3], 2) as running:
        assert running.finish(lambda _: None) == [2, 4, 6]
        assert running.progress == 6
    with working(add, (1,), [1, 2], 1) as running, pytest.raises(PlanMovedError, match="too much"):
        running.finish(lambda _: None)
    with working(add, (1,), [3], 1) as running, pytest.raises(OurError, match="Error: by far"):
        running.finish(lambda _: None)
