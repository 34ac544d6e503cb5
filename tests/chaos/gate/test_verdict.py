"""The checks of the gate campaign: each finds what is wrong, and nothing else."""

from datetime import timedelta
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from izin.consent import Status
from izin.iys.wire_format.json_reader import to_turkish
from tests.chaos.gate.__main__ import (
    KILLS,
    PARTS,
    WEIGHTS,
    GateFault,
    GateVerdict,
    SavedMovement,
    disagreements,
    fault_of,
    movements_of,
    report,
)
from tests.chaos.gate.traffic import Answer, GivenYes, PublishedEvent
from tests.support.builders import NOON, a_key

KEY = str(a_key())
KNOWN_WITHIN = 4.0


def event(status: Status, minute: int, second: float, *, lost: bool = False) -> PublishedEvent:
    """Return an event that was acknowledged when it was published, or never."""
    return PublishedEvent(
        key=KEY,
        status=status,
        at=NOON + timedelta(minutes=minute),
        published_at=second,
        acknowledged_at=inf if lost else second,
    )


def saved(status: Status, minute: int, saved_at: float) -> SavedMovement:
    """Return a movement at İYS."""
    return SavedMovement(str(status), to_turkish(NOON + timedelta(minutes=minute)), saved_at)


OPT_IN = event(Status.ONAY, 0, 0)
OPT_OUT = event(Status.RET, 1, 10)
AGAIN = event(Status.ONAY, 2, 20)
HELD = saved(Status.ONAY, 0, 1)
WITHDRAWN = saved(Status.RET, 1, 11)
HELD_AGAIN = saved(Status.ONAY, 2, 21)


@pytest.mark.parametrize(
    ("asked_at", "events", "movements", "token", "fault"),
    [
        (5, [OPT_IN], [HELD], None, None),
        (13, [OPT_IN, OPT_OUT], [HELD], None, None),
        (15, [OPT_IN, OPT_OUT], [HELD], None, "after an opt-out"),
        (15, [OPT_IN, event(Status.RET, 1, 10, lost=True)], [HELD], None, None),
        (11, [OPT_IN, OPT_OUT], [HELD], OPT_OUT, "after the token's opt-out"),
        (18, [OPT_IN, OPT_OUT, AGAIN], [HELD], None, "after an opt-out"),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, WITHDRAWN, HELD_AGAIN], None, None),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, WITHDRAWN, HELD_AGAIN], OPT_OUT, None),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, WITHDRAWN], None, "İYS held no consent"),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, saved(Status.ONAY, 2, 32)], None, "İYS held no"),
        (30, [OPT_IN, event(Status.RET, -1, 10)], [HELD], None, None),
        (30, [OPT_IN, event(Status.RET, -1, 10)], [HELD], event(Status.RET, -1, 10), None),
        (30, [OPT_IN], [HELD, WITHDRAWN], None, "İYS held no consent"),
        (5, [OPT_IN], [], None, "İYS held no consent"),
    ],
    ids=[
        "registered",
        "opted-out-too-late-to-be-known",
        "opted-out-and-known",
        "opt-out-not-acknowledged",
        "opted-out-and-asked-with-its-token",
        "opted-in-again-later-than-asked",
        "opted-in-again",
        "opted-in-again-and-asked-with-a-token",
        "opted-in-again-and-not-registered",
        "registered-later-than-answered",
        "stale-opt-out",
        "stale-opt-out-and-asked-with-its-token",
        "opted-out-at-iys",
        "never-registered",
    ],
)
def test_a_wrong_yes_is_found(
    asked_at: float,
    events: list[PublishedEvent],
    movements: list[SavedMovement],
    token: PublishedEvent | None,
    fault: str | None,
):
    """By what was acknowledged, published and saved before; a yes takes a second here."""
    yes = GivenYes(gate="gate-0", key=KEY, asked_at=asked_at, answered_at=asked_at + 1, token=token)
    found = fault_of(yes, events, movements, known_within=KNOWN_WITHIN)
    if fault is None:
        assert found is None
    else:
        assert found is not None
        assert fault in found


def test_a_movement_of_the_simulator_is_read():
    """Its instant is in milliseconds there."""
    row = {
        "brandCode": 100001,
        "type": "MESAJ",
        "recipientType": "BIREYSEL",
        "recipient": "+905550000001",
        "status": "RET",
        "occurredAt": 11_000,
        "consentDate": to_turkish(NOON + timedelta(minutes=1)),
    }
    assert movements_of([row]) == {KEY: [WITHDRAWN]}


def test_a_gate_that_says_something_else_is_found():
    """Another answer, another reason, and none at all."""
    yes, no = Answer(may_send=True, reason="registered"), Answer(may_send=False, reason="void")
    late = Answer(may_send=False, reason="stale")
    assert disagreements({"gate-0": {"a": yes, "b": no}}, {"a": yes, "b": no}) == []
    assert len(disagreements({"gate-0": {"a": no}, "gate-1": {"a": yes}}, {"a": yes})) == 1
    assert len(disagreements({"gate-0": {"b": late}}, {"b": no})) == 1
    assert len(disagreements({"gate-0": {}}, {"a": yes})) == 1


@pytest.mark.parametrize(
    ("changes", "figures", "failures"),
    [
        ({}, (0, 100), ()),
        ({"wrong": ("a yes",)}, (1, 100), ()),
        ({"granted": 0}, (0, 0), ()),
        ({"consenting": 0, "granted": 0}, (0, 0), ()),
        ({"unexplained": ("a key differs",)}, (0, 100), ("a key differs",)),
    ],
    ids=["right", "wrong-yes", "always-no", "nobody-to-ask", "difference"],
)
def test_a_campaign_is_short_for_each_fault(
    changes: dict[str, Any], figures: tuple[float, float], failures: tuple[str, ...]
):
    """A gate that always says no fails the run, as one does that says yes too often."""
    fields: dict[str, Any] = dict.fromkeys(GateVerdict.__dataclass_fields__, 0)
    fields |= {"reasons": {"registered": 2}, "failures": {}, "wrong": (), "unexplained": ()}
    verdict = GateVerdict(**fields | {"consenting": 4, "granted": 4} | changes)
    campaign: Any = SimpleNamespace(injected={}, recipients=4, refused=1, seed=1)
    found = report(campaign, verdict, seconds=1)
    assert (tuple(found.figures.values()), tuple(found.failures)) == (figures, failures)


def test_every_fault_has_a_weight_and_a_target() -> None:
    """One without would never be injected, or hit nothing."""
    assert set(WEIGHTS) == set(PARTS) == set(GateFault) > KILLS
