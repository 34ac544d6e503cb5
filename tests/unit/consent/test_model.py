import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace
from datetime import datetime

import pytest

import izin.consent
from izin.consent import (
    ConsentKey,
    NaiveInstantError,
    OriginRank,
    Status,
    UnreadableKeyError,
    decide,
    maker,
)
from izin.consent.making import changer
from tests.support.builders import (
    NOON,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
    an_iys_event,
    an_iys_origin,
)

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
