import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from izin.consent import maker
from izin.consent.making import changer


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


@pytest.mark.parametrize("given", [{}, {"width": 1, "height": 2}])
def test_missing_or_unknown_field_is_an_error(given: dict[str, int]):
    """Every required field must be given."""
    with pytest.raises(TypeError):
        make_shelf(**given)


def test_fields_are_keyword_only():
    """Positional arguments could be swapped."""
    with pytest.raises(TypeError):
        make_shelf(1)


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
