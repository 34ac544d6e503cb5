"""What a fact makes of a key's state.

The state of a key by the facts of its history: each kind of fact, one after the other.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from izin.consent import (
    BOOTSTRAP,
    SKEW,
    Consent,
    KeyState,
    Observation,
    OriginRank,
    RecipientType,
    RecordedKey,
    Registered,
    RegisteredRecord,
    Status,
    decide,
    is_of_citizens,
    latest,
    order_of,
    outranks,
    outranks_void,
    restoration,
    restored_consent,
)
from izin.consent.fold import WinningEvent
from izin.consent.may_send import PermissionReason
from tests.support.builders import (
    CUSTOMER,
    NOON,
    a_decision_record,
    a_key,
    an_admitted_event,
    an_event,
    an_iys_origin,
)

ONAY, RET, OURS, IYS = Status.ONAY, Status.RET, OriginRank.OURS, OriginRank.IYS
MINUTE = timedelta(minutes=1)
TRANSACTION = "c" * 64
BIREYSEL = RecipientType.BIREYSEL


def winning(status: Status, at: datetime, event_id: str = "e", **more: Any) -> WinningEvent:  # noqa: ANN401  # a field each
    """Return an event of ours."""
    fields = {"origin_rank": OURS, "source": "HS_WEB", "consent_date": at} | more
    return WinningEvent(status=status, effective_at=at, event_id=event_id, **fields)


def decided(state: KeyState, event: WinningEvent, **more: Any) -> KeyState:  # noqa: ANN401  # the same
    """Return the state after ``event``, which is the newest of the key."""
    own = "latest_ret_at" if event.status is RET else "latest_onay_at"
    latest = {"latest_onay_at": state.latest_onay_at, "latest_ret_at": state.latest_ret_at}
    opt_out = event if event.status is RET else None
    return state.decided(event, **latest | {own: event.effective_at, "opt_out": opt_out} | more)


def shown(value: Registered, at: datetime, **more: Any) -> Observation:  # noqa: ANN401  # the same
    """Return what a query of the key alone shows."""
    return Observation(
        **{"value": value, "creation_date": at, "verified_at": at, "verified_by": "status"} | more
    )


def moved(value: Registered, at: datetime, **more: Any) -> Observation:  # noqa: ANN401  # the same
    """Return what a pull shows."""
    return shown(value, at, transaction_id=TRANSACTION, verified_by="pull", **more)


def held(*observations: Observation) -> RegisteredRecord:
    """Return what İYS holds after these."""
    record = RegisteredRecord()
    for one in observations:
        record = record.after(one)
    return record


def test_events_are_compared_by_instant_status_rank_and_id() -> None:
    """An opt-out wins in the same second, and anything is newer than nothing."""
    assert outranks(order_of(NOON, RET, 0, "a"), order_of(NOON, ONAY, 2, "b"))
    assert not outranks(order_of(NOON, ONAY, 0, "a"), order_of(NOON, ONAY, 0, "a"))
    assert outranks(order_of(NOON, ONAY, None, None), None)


@pytest.mark.parametrize(
    ("order", "is_newer"),
    [
        (order_of(NOON, ONAY, IYS, "void"), False),
        (order_of(NOON + MINUTE, ONAY, OURS, "void"), True),
        (order_of(NOON, ONAY, IYS, "other"), True),
        (order_of(NOON - MINUTE, RET, OURS, "other"), False),
    ],
)
def test_void_event_is_newer_than_all_before_it(order: Any, is_newer: bool) -> None:  # noqa: ANN401  # an order
    """Its own repetition is no newer, whatever rank that claims."""
    assert outranks_void(order, "void", NOON, NOON - MINUTE) is is_newer
    assert not outranks_void(
        order_of(datetime.min.replace(tzinfo=NOON.tzinfo), ONAY, 0, ""), "x", None, None
    )


def test_latest_of_two_instants_may_be_unknown() -> None:
    """Either of them, or both."""
    assert latest(None, NOON) == latest(NOON, None) == latest(NOON, NOON - MINUTE) == NOON
    assert latest(None, None) is None


def test_citizens_write_under_sources_of_their_own() -> None:
    """A record without a source is nobody's."""
    assert is_of_citizens("IYS_WEB")
    assert not is_of_citizens("HS_WEB")
    assert not is_of_citizens(None)


def restored(status: Status = ONAY, **data: object) -> Consent:
    """Return a consent that was restored."""
    said = {"origin": "web", "source": "HS_WEB", "consent_date": NOON.isoformat()}
    return restored_consent(
        a_key(),
        customer_id="acme",
        event_id="e",
        status=status,
        effective_at=NOON,
        data=said | data,
    )


def test_restored_consent_has_all_that_the_history_says() -> None:
    """What an older history lacks follows from the rest."""
    before = NOON - MINUTE
    full = restored(origin_rank=2, registrable=False, latest_ret_at=before.isoformat())
    assert (full.origin_rank, full.registrable, full.latest_ret_at) == (IYS, False, before)
    assert (full.latest_onay_at, full.consent_date) == (NOON, NOON)
    old = restored(RET, origin="iys", consent_date=None)
    assert (old.origin_rank, old.registrable, old.consent_date) == (IYS, True, None)
    assert (old.latest_onay_at, old.latest_ret_at) == (None, NOON)
    assert restored().origin_rank is OURS


def test_restoration_is_read_back_as_it_was_written() -> None:
    """Through JSON, as the history has it."""
    consent = restored(origin_rank=1, registrable=False, latest_ret_at=NOON.isoformat())
    said = json.loads(json.dumps(restoration(consent), default=datetime.isoformat))
    assert restored(**said) == consent


def test_event_of_iys_shows_what_iys_holds() -> None:
    """With İYS's instant, and nobody's observation unless somebody made one."""
    event = an_event(status="RET", source="IYS_WEB", iys=an_iys_origin(creation_date=NOON))
    found = Observation.of(event, event.iys, verified_at=None)
    assert (found.value, found.creation_date, found.verified_at) == (Registered.RET, NOON, None)


@pytest.mark.parametrize(
    ("observations", "value", "at"),
    [
        pytest.param(
            [moved(Registered.ONAY, NOON), moved(Registered.RET, NOON - MINUTE)],
            *(Registered.ONAY, NOON),
            id="an older entry",
        ),
        pytest.param(
            [moved(Registered.RET, NOON), moved(Registered.ONAY, NOON)],
            *(Registered.RET, NOON),
            id="a tie",
        ),
        pytest.param(
            [moved(Registered.ONAY, NOON), shown(Registered.RET, NOON, verified_at=None)],
            *(Registered.ONAY, NOON),
            id="a claim of the same instant",
        ),
        pytest.param(
            [shown(Registered.RET, NOON, verified_at=None)],
            *(Registered.RET, NOON),
            id="a claim",
        ),
        pytest.param(
            [moved(Registered.ONAY, NOON + 9 * SKEW, verified_at=NOON)],
            *(Registered.ONAY, NOON),
            id="an opt-in ahead of its time",
        ),
        pytest.param(
            [
                shown(Registered.ONAY, NOON, verified_by="statuses"),
                moved(Registered.ONAY, NOON - MINUTE),
            ],
            *(Registered.ONAY, NOON - MINUTE),
            id="details filled in",
        ),
        pytest.param(
            [shown(Registered.NOT_ONAY, NOON), moved(Registered.RET, NOON - MINUTE)],
            *(Registered.RET, NOON),
            id="the opt-out that was absent",
        ),
        pytest.param(
            [moved(Registered.RET, NOON), shown(Registered.NOT_ONAY, NOON + MINUTE)],
            *(Registered.RET, NOON),
            id="an opt-out that is absent",
        ),
        pytest.param(
            [
                shown(Registered.ONAY, NOON),
                shown(Registered.RET, NOON - MINUTE, verified_at=NOON + MINUTE),
            ],
            *(Registered.RET, NOON - MINUTE),
            id="a query of the key alone",
        ),
        pytest.param(
            [
                shown(Registered.NONE, NOON),
                shown(
                    *(Registered.ONAY, NOON - MINUTE), transaction_id=TRANSACTION, verified_by="add"
                ),
            ],
            *(Registered.ONAY, NOON - MINUTE),
            id="an answer",
        ),
        pytest.param(
            [shown(Registered.NONE, NOON), moved(Registered.ONAY, NOON - MINUTE)],
            *(Registered.ONAY, NOON - MINUTE),
            id="none by our clock",
        ),
        pytest.param(
            [shown(Registered.NOT_ONAY, NOON), moved(Registered.ONAY, NOON - timedelta(seconds=1))],
            *(Registered.UNKNOWN, None),
            id="absent by our clock",
        ),
        pytest.param(
            [shown(Registered.NOT_ONAY, NOON), moved(Registered.ONAY, NOON - 9 * SKEW)],
            *(Registered.NOT_ONAY, NOON),
            id="absent long after",
        ),
    ],
)
def test_record_with_the_greatest_creation_date_counts(
    observations: list[Observation], value: Registered, at: datetime | None
) -> None:
    """But for what a query has shown that has the time of our clock."""
    found = held(*observations)
    assert (found.value, found.creation_date) == (value, at)


def test_state_of_a_record_is_what_the_law_asks_of_it() -> None:
    """A claimed opt-out is not verified, and after a restoration the record is lost."""
    assert not held(shown(Registered.RET, NOON, verified_at=None)).state.verified
    assert held(moved(Registered.RET, NOON, source="IYS_WEB")).state.from_iys
    assert RegisteredRecord(verified_by=BOOTSTRAP).state.is_lost


def test_older_event_moves_the_latest_instants_alone() -> None:
    """What is desired stays."""
    state = decided(KeyState(), winning(ONAY, NOON))
    older = winning(ONAY, NOON - MINUTE, "older")
    assert state.decided(older, latest_onay_at=NOON, latest_ret_at=None) == state


def test_same_event_with_a_later_date_is_no_other_one() -> None:
    """A form sent twice has one id."""
    state = decided(KeyState(), winning(ONAY, NOON)).ended("e", "ONAY", "expired")
    again = decided(state, winning(ONAY, NOON + MINUTE))
    assert (again.desired, again.closed_as) == (winning(ONAY, NOON + MINUTE), "expired")


def after_void(outcome: str = "expired") -> KeyState:
    """Return the state after an opt-out, and an opt-in that İYS never gets."""
    state = decided(KeyState(), winning(RET, NOON, "out"))
    return decided(state, winning(ONAY, NOON + MINUTE, "in")).ended("in", "ONAY", outcome)


@pytest.mark.parametrize("outcome", ["expired", "refused", "parked"])
def test_closed_opt_in_hides_no_opt_out(outcome: str) -> None:
    """The opt-out is desired again, and the repetition of the opt-in changes nothing."""
    state = after_void(outcome)
    assert (state.desired, state.void_event_id) == (winning(RET, NOON, "out"), "in")
    assert decided(state, winning(ONAY, NOON + MINUTE, "in")) == state
    newer = decided(state, winning(ONAY, NOON + 9 * MINUTE, "newer"))
    assert (newer.desired and newer.desired.event_id, newer.void_event_id) == ("newer", None)


def test_opt_out_behind_a_void_opt_in_is_the_one_to_desire() -> None:
    """Whenever it comes; one that says no more than the known one changes nothing."""
    state, opt_in = after_void(), winning(ONAY, NOON + MINUTE, "in")
    late = winning(RET, NOON + timedelta(seconds=30), "late")
    latest = {"latest_onay_at": NOON + MINUTE, "latest_ret_at": late.effective_at}
    assert state.decided(opt_in, **latest, opt_out=late).desired == late
    assert state.decided(opt_in, **latest, opt_out=None).desired == state.desired
    under = decided(decided(KeyState(), winning(RET, NOON, "out")), opt_in)
    assert under.decided(opt_in, **latest, opt_out=late).opt_out == late


def test_opt_out_on_its_way_is_answered_first() -> None:
    """Until then nobody knows what İYS holds."""
    state = decided(KeyState(is_ret_open=True), winning(RET, NOON, "out"))
    closed = decided(state, winning(ONAY, NOON + MINUTE, "in")).ended("in", "ONAY", "expired")
    assert closed.desired == winning(ONAY, NOON + MINUTE, "in")


def test_outcome_of_another_event_changes_nothing() -> None:
    """Nor does one that leaves the obligation open, nor one of a key without any."""
    state = decided(KeyState(), winning(ONAY, NOON))
    assert state.ended("other", "ONAY", "expired") == state
    assert state.ended("e", "ONAY", "accepted") == state
    assert KeyState().ended("e", "ONAY", "expired") == KeyState()


def test_opt_out_of_which_nothing_is_known_is_not_desired_again() -> None:
    """Its rescue is another event."""
    opt_in = winning(ONAY, NOON, "in")
    state = KeyState().decided(opt_in, latest_onay_at=NOON, latest_ret_at=NOON - MINUTE)
    assert state.ended("in", "ONAY", "expired").desired == opt_in
    moved_on = decided(
        KeyState(desired=winning(RET, NOON - 2 * MINUTE, "out"), latest_ret_at=NOON - MINUTE),
        opt_in,
    )
    assert moved_on.opt_out is None


def test_restored_consent_leaves_what_is_registered_unknown() -> None:
    """Where it is news; the same event, or an older one, leaves what was seen."""
    lost = KeyState().observed(moved(Registered.ONAY, NOON)).restored(restored())
    assert (lost.registration.value, lost.registration.verified_by) == (
        Registered.UNKNOWN,
        BOOTSTRAP,
    )
    known = lost.observed(moved(Registered.ONAY, NOON))
    assert known.restored(restored()) == known


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (KeyState(), PermissionReason.NOT_REGISTERED),
        (decided(KeyState(), winning(ONAY, NOON)), PermissionReason.AWAITING_IYS),
        (
            decided(KeyState(), winning(ONAY, NOON)).ended("e", "ONAY", "refused"),
            PermissionReason.VOID,
        ),
        (
            decided(KeyState(), winning(ONAY, NOON, origin_rank=IYS)),
            PermissionReason.NOT_REGISTERED,
        ),
        (decided(KeyState(), winning(RET, NOON)), PermissionReason.OPTED_OUT),
        (after_void(), PermissionReason.OPTED_OUT),
        (
            KeyState().observed(moved(Registered.ONAY, NOON, consent_date=NOON)),
            PermissionReason.REGISTERED,
        ),
    ],
)
def test_permission_follows_from_what_is_known(state: KeyState, reason: PermissionReason) -> None:
    """An opt-in of ours awaits İYS, or is void; one that İYS claims is no reason."""
    found = state.permission(BIREYSEL)
    assert (found.reason, found.may_send) == (reason, reason is PermissionReason.REGISTERED)


@pytest.mark.parametrize(
    ("record", "may_be"),
    [
        (RegisteredRecord(), True),
        (held(shown(Registered.RET, NOON, verified_at=None)), True),
        (held(moved(Registered.RET, NOON)), False),
        (held(moved(Registered.ONAY, NOON, consent_date=NOON)), True),
        (held(moved(Registered.ONAY, NOON, consent_date=NOON + 2 * MINUTE)), False),
    ],
)
def test_iys_may_hold_an_older_opt_in_than_the_latest_opt_out(
    record: RegisteredRecord,
    may_be: bool,  # a case
) -> None:
    """Where it shows one, or where nobody has seen what it holds."""
    assert record.state.may_be_older_onay(NOON + MINUTE) is may_be


def test_observation_of_the_history_has_what_was_shown() -> None:
    """Where İYS gave no date, it counts from when it was seen."""
    seen = Observation.recorded("ONAY", {"by": "status"}, seen_at=NOON)
    assert (seen.value, seen.creation_date, seen.verified_by) == (Registered.ONAY, NOON, "status")
    data = {"creation_date": (NOON + MINUTE).isoformat()}
    dated = Observation.recorded("RET", data, seen_at=NOON)
    assert (dated.creation_date, dated.verified_by) == (NOON + MINUTE, "")


CALL = {"submission": 7, "consent_date": "2026-03-02T09:00:00+00:00", "source": "HS_WEB"}
SAVED = {
    "submission": 7,
    "verdict": "success",
    "how": "add",
    "creation_date": "2026-03-02T09:01:00+00:00",
    "transaction_id": TRANSACTION,
}


def answered(**changed: object) -> Observation | None:
    """Return what an answer of İYS shows."""
    key = RecordedKey()
    key.add(a_fact("call", CALL, status="RET", event_id="1"))
    at = (NOON + 2 * MINUTE).isoformat()
    return key.add(a_fact("answer", SAVED | changed, at, status="RET", event_id="1"))


def test_answer_of_the_history_is_what_was_submitted() -> None:
    """With the date of İYS, and the instant at which it was recorded."""
    assert answered() == Observation(
        value=Registered.RET,
        creation_date=NOON + MINUTE,
        consent_date=NOON,
        source="HS_WEB",
        transaction_id=TRANSACTION,
        verified_at=NOON + 2 * MINUTE,
        verified_by="add",
    )
    assert answered(how="batch") != answered()


@pytest.mark.parametrize("changed", [{"verdict": "refused"}, {"creation_date": None}])
def test_answer_that_saved_nothing_shows_nothing(changed: dict[str, object]) -> None:
    """Nothing is registered by it."""
    assert answered(**changed) is None


def test_fact_that_cannot_be_read_changes_nothing() -> None:
    """A word of a later release: whoever reads the history counts it."""
    key = RecordedKey()
    with pytest.raises(ValueError, match="BEKLIYOR"):
        key.add(a_fact("observation", {}, status="BEKLIYOR"))
    assert key.state == RecordedKey().state


def a_fact(
    kind: str,
    data: Mapping[str, object],
    at: datetime | str = NOON,
    *,
    status: str | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Return a fact of the key."""
    return {
        "kind": kind,
        "key": str(a_key()),
        "customer_id": CUSTOMER,
        "event_id": event_id,
        "status": status,
        "occurred_at": at,
        "recorded_at": at,
        "data": data,
    }


def decision(**event: object) -> dict[str, Any]:
    """Return the fact of the decision on the first event of the key."""
    record = a_decision_record(decide(None, an_admitted_event(**event)))
    return a_fact("decision", record, record["effective_at"])


def test_decision_makes_its_event_desired() -> None:
    """With the date from which it counts."""
    key = RecordedKey()
    assert key.add(decision(event_id="e1", status="ONAY")) is None
    desired = key.state.desired
    assert (desired.event_id, desired.status) == ("e1", Status.ONAY)


def test_opt_out_that_says_it_is_from_iys_closes_at_once() -> None:
    """It is claimed, and not verified."""
    key = RecordedKey()
    origin = an_iys_origin(creation_date=NOON)
    key.add(decision(status="RET", source="IYS_WEB", consent_date=NOON, iys=origin))
    shown = key.state.registration
    assert (shown.value, shown.verified_at) == (Registered.RET, None)


def test_restored_consent_stands_and_what_is_registered_is_unknown() -> None:
    """İYS is queried before anything else."""
    consent = decide(None, an_admitted_event(event_id="e1", status="RET")).consent
    key = RecordedKey()
    key.add(
        a_fact(
            "bootstrap",
            orjson.loads(orjson.dumps(restoration(consent))),
            consent.effective_at,
            status="RET",
            event_id="e1",
        )
    )
    desired = key.state.desired
    assert (desired.event_id, key.state.registration.value) == ("e1", Registered.UNKNOWN)


def test_answer_older_than_its_event_is_of_an_earlier_save() -> None:
    """İYS returns the first receipt of an identical call: it shows nothing of now."""
    key = RecordedKey()
    key.add(decision(event_id="e1", status="ONAY", consent_date=NOON))
    key.add(a_fact("call", {"submission": 1}, status="ONAY", event_id="e1"))
    saved = {
        "submission": 1,
        "verdict": "success",
        "creation_date": NOON - MINUTE,
        "transaction_id": "c" * 64,
        "how": "add",
    }
    assert key.add(a_fact("answer", saved, status="ONAY", event_id="e1")) is None
    later = saved | {"creation_date": NOON + MINUTE}
    assert key.add(a_fact("answer", later, NOON + MINUTE, status="ONAY", event_id="e1")) is not None
    assert key.state.registration.value is Registered.ONAY


def test_outcome_ends_an_event_and_other_facts_change_nothing() -> None:
    """A consent that expired permits nothing; an act of a person is for those who ask for it."""
    key = RecordedKey()
    key.add(decision(event_id="e1", status="ONAY"))
    before = key.state
    key.add(a_fact("act", {"act": "requeue"}))
    assert key.state == before
    key.add(a_fact("outcome", {"outcome": "expired"}, status="ONAY", event_id="e1"))
    assert key.state != before
