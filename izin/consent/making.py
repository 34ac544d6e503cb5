"""Fast construction of frozen dataclasses, for the few that are made a million times.

A frozen dataclass sets every field through ``object.__setattr__``, which is most of what it costs
to admit and decide an event. A maker fills the slots of a mutable class of the same layout, and
then changes the class of the object: a fraction of the time, and just as frozen afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def maker(cls: Callable[P, T]) -> Callable[P, T]:
    """Return a function that constructs ``cls`` from its fields, given by keyword.

    Raises:
        TypeError: ``cls`` is not a dataclass with slots.
    """
    if not is_dataclass(cls) or "__slots__" not in vars(cls):
        raise TypeError(f"{cls!r} is not a dataclass with slots")
    slots = vars(cls)["__slots__"]
    mutable = type("Mutable", (), {"__slots__": slots})
    names: dict[str, Any] = {"Mutable": mutable, "Value": cls, "MISSING": MISSING}
    parameters, body = [], ["self = Mutable()"]
    for field in fields(cls):
        parameters.append(_parameter(field, names))
        body.append(f"self.{field.name} = {field.name}")
        if field.default_factory is not MISSING:
            body.append(f"if {field.name} is MISSING: self.{field.name} = make_{field.name}()")
    body.append("self.__class__ = Value")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    lines = "\n    ".join([*body, "return self"])
    made: dict[str, Callable[P, T]] = {}
    exec(  # noqa: S102  # built from field names only, as dataclasses do
        f"def make(*, {', '.join(parameters)}):\n    {lines}\n", names, made
    )
    return made["make"]


def changer(cls: type[T]) -> Callable[[T, Mapping[str, Any]], T]:
    """Return a function that returns a ``cls`` with some fields changed, as ``dataclasses.replace``
    does, in a fraction of the time.

    Raises:
        TypeError: ``cls`` is not a dataclass with slots.
    """
    make = maker(cls)
    changed = ", ".join(f"{one}=get({one!r}, value.{one})" for one in vars(cls)["__slots__"])
    made: dict[str, Callable[[T, Mapping[str, Any]], T]] = {}
    exec(  # noqa: S102  # built from field names only, as dataclasses do
        f"def change(value, changes):\n    get = changes.get\n    return make({changed})\n",
        {"make": make},
        made,
    )
    return made["change"]


def _parameter(one: Field[Any], names: dict[str, Any]) -> str:
    """Return the parameter of the field ``one``, and add its default to ``names``."""
    if one.default_factory is not MISSING:
        names[f"make_{one.name}"] = one.default_factory
        return f"{one.name}=MISSING"
    if one.default is not MISSING:
        names[f"default_{one.name}"] = one.default
        return f"{one.name}=default_{one.name}"
    return one.name
