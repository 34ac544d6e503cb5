import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, strategies as st

import izin.consent
from izin.consent import (
    AdmittedEvent,
    Consent,
    ConsentKey,
    DecisionKind,
    NaiveInstantError,
    OriginRank,
    Status,
    UnreadableKeyError,
    admit,
    decide,
    maker,
    merge,
)
from izin.consent.making import changer
from izin.consent.model import Reason
from tests.support.builders import (
    NOON,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
    an_iys_event,
    an_iys_origin,
)
from tests.unit.consent.strategies import admitted_events


def state_after(data: list[AdmittedEvent]) -> Consent | None:
    """Return the state after these events, in this order."""
    state = None
    for admitted in data:
        state = decide(state, admitted).consent
    return state


@given(st.lists(admitted_events(), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_any_permutation_and_duplication_gives_the_same_consent(
    data: list[AdmittedEvent], random: Random
):
    """The order of arrival and repetition change nothing."""
    shuffled = [*data, *random.choices(data, k=3)]
    random.shuffle(shuffled)
    assert state_after(shuffled) == state_after(data)


@given(admitted_events(), admitted_events(), admitted_events())
def test_merge_is_commutative_associative_idempotent(
    one: AdmittedEvent, two: AdmittedEvent, three: AdmittedEvent
):
    """States built apart can be merged in any way."""
    a, b, c = (state_after([admitted]) for admitted in (one, two, three))
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a


@given(
    st.lists(admitted_events(), min_size=1, max_size=6),
    st.lists(admitted_events(), min_size=1, max_size=6),
)
def test_split_and_merge_equals_deciding_in_sequence(
    left: list[AdmittedEvent], right: list[AdmittedEvent]
):
    """A partition's history may be split anywhere."""
    assert merge(state_after(left), state_after(right)) == state_after([*left, *right])


@given(st.lists(admitted_events(), min_size=1, max_size=8))
def test_decision_has_its_event_and_key(data: list[AdmittedEvent]):
    """A decision can be read without its source record."""
    state = None
    for admitted in data:
        decision = decide(state, admitted)
        assert decision.admitted is admitted
        state = decision.consent
        assert state.key == admitted.key


@given(st.lists(admitted_events(), min_size=1, max_size=8))
def test_greatest_event_wins(data: list[AdmittedEvent]):
    """The state is that of the greatest event, with the latest instant of either status."""
    state = state_after(data)
    greatest = max((admitted.order, admitted.content) for admitted in data)
    assert (state.order, state.content) == greatest
    rets = [admitted.effective_at for admitted in data if admitted.status is Status.RET]
    assert state.latest_ret_at == max(rets, default=None)


@given(st.lists(admitted_events(), min_size=1, max_size=8))
def test_opted_out_is_set_whenever_the_status_becomes_ret(data: list[AdmittedEvent]):
    """It is set once for each change of the effective status to RET."""
    state = None
    for admitted in data:
        decision = decide(state, admitted)
        was_ret = state is not None and state.status is Status.RET
        is_ret = decision.consent.status is Status.RET
        assert decision.opted_out is (is_ret and not was_ret)
        state = decision.consent


@given(admitted_events(), admitted_events())
def test_content_alone_never_changes_a_status(one: AdmittedEvent, two: AdmittedEvent):
    """Events of equal order change the representative, nothing else."""
    current = decide(None, one).consent
    decision = decide(current, two)
    if two.order == one.order:
        assert decision.kind in (DecisionKind.ENRICHED, DecisionKind.DUPLICATE)
        assert decision.consent.status is current.status
        assert decision.consent.effective_at == current.effective_at
        assert not decision.opted_out


@pytest.mark.parametrize(
    ("admitted", "kind", "reason"),
    [
        (an_admitted_event(), DecisionKind.DUPLICATE, Reason.SAME_EVENT),
        (an_admitted_event(event_id="event-0"), DecisionKind.DUPLICATE, Reason.LESSER_EVIDENCE),
        (an_admitted_event(event_id="event-2"), DecisionKind.ENRICHED, Reason.BETTER_EVIDENCE),
        (an_admitted_event(iys=an_iys_origin()), DecisionKind.ENRICHED, Reason.BETTER_EVIDENCE),
        (an_admitted_event(source="HS_MOBIL"), DecisionKind.DUPLICATE, Reason.LESSER_EVIDENCE),
        (an_admitted_event(origin="web-2"), DecisionKind.ENRICHED, Reason.BETTER_EVIDENCE),
        (an_admitted_event(actor="somebody else"), DecisionKind.DUPLICATE, Reason.SAME_EVENT),
        (a_ret(event_id="event-0"), DecisionKind.APPLY, Reason.RET_WINS_TIE),
        (a_ret(consent_date=NOON + timedelta(seconds=1)), DecisionKind.APPLY, Reason.NEWER),
        (
            an_admitted_event(consent_date=NOON - timedelta(days=1)),
            DecisionKind.STALE,
            Reason.OLDER,
        ),
        (a_ret(consent_date=NOON - timedelta(days=1)), DecisionKind.STALE, Reason.OLDER),
    ],
)
def test_each_decision_has_its_reason(admitted: AdmittedEvent, kind: DecisionKind, reason: Reason):
    """Over an ONAY at noon, each kind of event is decided for its reason."""
    decision = decide(decide(None, an_admitted_event()).consent, admitted)
    assert (decision.kind, decision.reason) == (kind, reason)


def test_onay_loses_a_shared_second():
    """Over a RET, even an ONAY of a higher rank is stale."""
    current = decide(None, a_ret()).consent
    decision = decide(current, an_admitted_event(event_id="event-9", iys=an_iys_origin()))
    assert (decision.kind, decision.reason) == (DecisionKind.STALE, Reason.OLDER)
    assert decision.consent.latest_onay_at == NOON


@given(admitted_events(), admitted_events())
def test_event_wins_exactly_where_its_order_is_greater(one: AdmittedEvent, two: AdmittedEvent):
    """The steps of a decision and the total order agree."""
    decision = decide(decide(None, one).consent, two)
    wins = decision.kind in (DecisionKind.APPLY, DecisionKind.ENRICHED)
    assert wins is ((two.order, two.content) > (one.order, one.content))


@pytest.mark.parametrize(
    ("lesser", "greater"),
    [
        (a_ret(source="HS_NOWHERE"), a_ret(source="HS_ATM")),
        (a_ret(consent_date=None, received_at=NOON), a_ret(source="HS_ATM")),
        (a_ret(source="HS_ATM"), a_ret()),
        (an_admitted_event(origin="crm"), an_admitted_event()),
        (an_admitted_event(customer_id="aaa"), an_admitted_event()),
    ],
    ids=["registrable", "dated", "source", "origin", "customer"],
)
def test_one_event_id_with_two_contents_gives_one_state(
    lesser: AdmittedEvent, greater: AdmittedEvent
):
    """With equal order the greater content wins, a registrable and a dated one before others."""
    assert lesser.order == greater.order
    assert state_after([lesser, greater]) == state_after([greater, lesser])
    assert state_after([lesser, greater]) == state_after([greater])
    assert merge(state_after([lesser]), state_after([greater])) == state_after([greater])
    assert merge(state_after([greater]), state_after([lesser])) == state_after([greater])


def test_first_event_applies():
    """Without a state any event applies, and a first RET opts out."""
    decision = decide(None, a_ret())
    assert (decision.kind, decision.reason) == (DecisionKind.APPLY, Reason.FIRST)
    assert decision.opted_out


def test_duplicate_returns_the_same_object():
    """Nothing is published for a repetition."""
    current = decide(None, an_admitted_event()).consent
    assert decide(current, an_admitted_event()).consent is current


def test_stale_event_can_be_the_latest_of_its_status():
    """An older RET does not change the status, but "may I send?" depends on it."""
    current = decide(None, an_admitted_event()).consent
    noted = decide(current, a_ret(consent_date=NOON - timedelta(days=1))).consent
    assert noted.status is Status.ONAY
    assert noted.latest_ret_at == NOON - timedelta(days=1)
    assert decide(noted, a_ret(consent_date=NOON - timedelta(days=2))).consent is noted
    assert decide(noted, an_admitted_event(consent_date=NOON - timedelta(days=2))).consent is noted


def test_stale_onay_can_be_the_latest_onay():
    """An ONAY that lost to a later RET remains known as what that RET overrides."""
    current = decide(None, a_ret()).consent
    noted = decide(current, an_admitted_event(consent_date=NOON - timedelta(days=1))).consent
    assert noted.status is Status.RET
    assert noted.latest_onay_at == NOON - timedelta(days=1)


def of_a_day(received: datetime) -> AdmittedEvent:
    """Return a RET of 2 March, of which an export that was received then has the day alone."""
    event = an_event(
        event_id=str(received),
        status="RET",
        consent_date=datetime(2026, 3, 1, 21, tzinfo=UTC),
        received_at=received,
        date_basis="day",
    )
    return admit(event, appended_at=received)


def status_after(*events: AdmittedEvent) -> Status:
    """Return the status after these events."""
    return state_after([*events]).status


@pytest.mark.parametrize("later", [timedelta(minutes=1), timedelta(days=1)])
def test_opt_in_of_the_day_of_an_opt_out_loses_to_it(later: timedelta):
    """The day says no time, and an opt-out is not undone by accident."""
    onay, ret = an_admitted_event(), of_a_day(NOON + later)
    assert status_after(onay, ret) is status_after(ret, onay) is Status.RET


def test_repeated_opt_out_of_a_day_undoes_no_later_consent():
    """A nightly export says the same for weeks: it counts from the day that it names."""
    nights = [of_a_day(NOON + timedelta(days=night)) for night in range(1, 21)]
    at = NOON + timedelta(days=1, hours=8)
    onay = admit(an_event(consent_date=at, received_at=at), appended_at=at)
    assert status_after(nights[0], onay, *nights[1:]) is Status.ONAY


NAIVE = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - a naive instant is what is tested


def test_key_and_its_text_are_equivalent():
    """A key can be written to Kafka and read back."""
    key = a_key()
    assert str(key) == "100001/MESAJ/BIREYSEL/+905550000001"
    assert ConsentKey.parse(key.encode().decode()) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100001",
        "x/MESAJ/BIREYSEL/+905550000001",
        "100001/SMS/BIREYSEL/+905550000001",
        "100001/MESAJ/KURUMSAL/+905550000001",
        "0100001/MESAJ/BIREYSEL/+905550000001",
        "100001/MESAJ/BIREYSEL/",
    ],
)
def test_other_text_is_not_a_key(text: str):
    """A non-canonical text is refused, without the recipient in the message."""
    with pytest.raises(UnreadableKeyError) as caught:
        ConsentKey.parse(text)
    assert "+90555" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "field"),
    [(an_event, "consent_date"), (an_event, "received_at"), (an_iys_origin, "creation_date")],
)
def test_naive_instants_are_refused(make: Callable[..., object], field: str):
    """An instant without a zone is a legal bug; İYS's creation date decides the order, too."""
    with pytest.raises(NaiveInstantError, match=field):
        make(**{field: NAIVE})


def test_origin_rank_is_by_writer():
    """Citizens at İYS outrank providers' writings, and these outrank our own systems."""
    assert an_event().origin_rank is OriginRank.OURS
    assert an_iys_event(iys=an_iys_origin(stream="HS")).origin_rank is OriginRank.IYS_HS
    assert an_iys_event().origin_rank is OriginRank.IYS


def test_previous_status_is_the_opposite_if_ever_known():
    """It is the status that was overridden, if there was one."""
    first = decide(None, an_admitted_event()).consent
    assert first.previous_status is None
    assert decide(first, a_ret(event_id="event-2")).consent.previous_status is Status.ONAY
    only_ret = decide(None, a_ret()).consent
    assert only_ret.previous_status is None
    later = an_admitted_event(event_id="event-3", consent_date=NOON.replace(second=1))
    assert decide(only_ret, later).consent.previous_status is Status.RET


def test_exported_names_are_those_listed():
    """Each exported name exists, and is listed once."""
    assert len(set(izin.consent.__all__)) == len(izin.consent.__all__)
    assert all(hasattr(izin.consent, name) for name in izin.consent.__all__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A value with each kind of field."""

    width: int
    label: str | None = None
    books: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError("width")


make_shelf = maker(Shelf)


def test_made_value_equals_the_constructed_one():
    """It is indistinguishable from a constructed value."""
    made = make_shelf(width=3, label="law", books=["a"])
    assert type(made) is Shelf
    assert made == Shelf(width=3, label="law", books=["a"])
    assert repr(made) == "Shelf(width=3, label='law', books=['a'])"
    assert pickle.loads(pickle.dumps(made)) == made
    assert replace(made, width=4) == Shelf(width=4, label="law", books=["a"])


def test_made_value_is_frozen():
    """It is mutable only while it is constructed."""
    made = make_shelf(width=3)
    with pytest.raises(FrozenInstanceError):
        made.width = 4
    assert not hasattr(made, "__dict__")


def test_omitted_field_has_its_default():
    """A list that two values share would change both."""
    one, other = make_shelf(width=1), make_shelf(width=1)
    assert one == Shelf(width=1)
    assert one.books is not other.books


@pytest.mark.parametrize(
    ("by_position", "given"), [((), {}), ((), {"width": 1, "height": 2}), ((1,), {})]
)
def test_field_that_is_missing_unknown_or_unnamed_is_an_error(
    by_position: tuple[int, ...], given: dict[str, int]
):
    """Every required field must be given, by its name: positions could be swapped."""
    with pytest.raises(TypeError):
        make_shelf(*by_position, **given)


def test_post_init_is_called():
    """There is no way around ``__post_init__``."""
    with pytest.raises(ValueError, match="width"):
        make_shelf(width=-1)


@dataclass(frozen=True)
class Loose:
    """A value without slots."""

    width: int


@pytest.mark.parametrize("cls", [Loose, lambda: None])
def test_class_without_slots_has_no_maker(cls: type):
    """Without slots the layout would differ."""
    with pytest.raises(TypeError, match="slots"):
        maker(cls)


def test_changed_value_is_that_of_replace():
    """And the value that it is made of stays as it is."""
    change = changer(Shelf)
    made = make_shelf(width=3, label="law")
    assert change(made, {"label": None, "width": 4}) == replace(made, label=None, width=4)
    assert made == Shelf(width=3, label="law")
    with pytest.raises(ValueError, match="width"):
        change(made, {"width": -1})
