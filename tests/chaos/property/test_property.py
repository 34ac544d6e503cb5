"""A short campaign of generated histories, and ones in which its checks find a fault.

Ledger, evidence, what-if and reconcile give one answer, by the one fold (``consent.fold``).
"""

from random import Random

import pytest

from izin.consent import RegisteredState
from izin.consent.may_send import Permission, PermissionReason
from izin.ledger.record import ConsentRow, apply
from tests.chaos.property import __main__ as campaign
from tests.chaos.property.__main__ import RecordedHistory
from tests.chaos.property.key_history import ACTS

_HISTORIES = 800
OPEN = Permission(may_send=True, reason=PermissionReason.REGISTERED)


def test_no_generated_history_hides_an_opt_out():
    """Every act is done, and opt-outs are due again behind void opt-ins."""
    verdict = campaign.part(seed="suite", histories=_HISTORIES)
    assert (verdict.unexplained, verdict.settled) == ((), _HISTORIES // 4)
    assert (verdict.due_again > _HISTORIES // 100, len(verdict.kinds)) == (True, len({*ACTS}))


def test_histories_are_the_same_for_the_same_seed():
    """In however many parts they are joined."""
    parts = [campaign.part(seed=f"7/{number}", histories=20) for number in range(2)]
    joined = campaign.joined(*parts)
    assert joined == campaign.joined(
        *(campaign.part(seed=f"7/{number}", histories=20) for number in range(2))
    )
    figures = campaign.report(joined, seed=7, seconds=1).figures
    assert figures == {
        "property-histories": 40,
        "property-unexplained": 0,
        "property-compared": 2,
        "property-disagreements": 0,
    }


def _never(_: ConsentRow) -> bool:
    return False


def _without_unknown(state: RegisteredState, latest_ret_at: object) -> bool:
    return state.value == "ONAY" and not state.is_after(latest_ret_at)


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [
        (apply, "is_due_again", _never),
        (apply, "under", lambda *_: {}),
        (RegisteredState, "may_be_older_onay", _without_unknown),
        (ConsentRow, "permission_by_law", OPEN),
    ],
)
def test_ledger_without_the_rule_is_found(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, mutant: object
):
    """Without the rule, without what it keeps, without what nobody has seen, or with a gate that is
    open to all.
    """
    monkeypatch.setattr(owner, name, mutant)
    verdict = campaign.part(seed="mutants", histories=_HISTORIES)
    if name == "under":  # every opt-out is forgotten, and rescued
        assert verdict.due_again < _HISTORIES // 100
    else:
        assert verdict.violations > 0
        assert "latest opt-out" in verdict.unexplained[0]


HISTORIES = 100
STEPS = 25


def compared(seed: int) -> RecordedHistory:
    """Return a generated history, compared after each act."""
    history = RecordedHistory(Random(seed))
    for _ in range(STEPS):
        history.step()
        history.compare()
    return history


def test_all_readers_of_a_history_say_the_same() -> None:
    """What is desired, what İYS holds, and whether a message may be sent, and why."""
    kinds = {row.columns.kind for seed in range(HISTORIES) for row in compared(seed).rows}
    assert kinds == {"decision", "bootstrap", "call", "answer", "observation", "outcome"}
