import pickle
from dataclasses import FrozenInstanceError, field, fields, replace
from inspect import signature

import pytest

from izin.consent.values import value


@value
class Shelf:
    """A value with each kind of field."""

    width: int
    label: str | None = None
    books: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError("width")


def test_a_value_is_a_frozen_dataclass_with_slots():
    """Only its construction is ours."""
    shelf = Shelf(width=3, label="law")
    assert shelf == Shelf(width=3, label="law") != Shelf(width=3)
    assert [one.name for one in fields(shelf)] == ["width", "label", "books"]
    assert repr(shelf) == "Shelf(width=3, label='law', books=[])"
    assert not hasattr(shelf, "__dict__")
    assert pickle.loads(pickle.dumps(shelf)) == shelf
    with pytest.raises(FrozenInstanceError):
        shelf.width = 4


def test_each_value_gets_its_own_default():
    """A list that two values share would change both."""
    one, other = Shelf(width=1), Shelf(width=1)
    assert one.books == other.books == []
    assert one.books is not other.books
    assert Shelf(width=1, books=["a"]).books == ["a"]


@pytest.mark.parametrize("given", [{}, {"width": 1, "height": 2}])
def test_what_is_missing_or_unknown_is_an_error(given: dict[str, int]):
    """A value is whole or is not."""
    with pytest.raises(TypeError, match=r"__init__\(\)"):
        Shelf(**given)


def test_fields_are_given_by_name():
    """Two texts side by side would be exchanged one day."""
    assert all(one.kind is one.KEYWORD_ONLY for one in signature(Shelf).parameters.values())
    with pytest.raises(TypeError):
        Shelf(1)


def test_what_it_must_be_is_checked_also_when_it_is_replaced():
    """There is no way around ``__post_init__``."""
    with pytest.raises(ValueError, match="width"):
        Shelf(width=-1)
    with pytest.raises(ValueError, match="width"):
        replace(Shelf(width=1), width=-1)
    assert replace(Shelf(width=1), width=2) == Shelf(width=2)
