"""Options that several commands take together: one function declares them, and makes a value."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import TypeVar

T = TypeVar("T")


def takes(
    parameter: str, made_by: Callable[..., object]
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Have a command take the options of ``made_by``, whose result is its ``parameter``."""
    options = signature(made_by).parameters

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        own = signature(command)

        @wraps(command)
        def taking(**values: object) -> T:
            given = {name: values.pop(name) for name in options}
            return command(**values, **{parameter: made_by(**given)})

        parameters = [
            one
            for name, its in own.parameters.items()
            for one in (options.values() if name == parameter else [its])
        ]
        # The command line passes options by name, so only the order of arguments counts.
        named = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
        vars(taking)["__signature__"] = own.replace(parameters=named)
        taking.__annotations__ = {one.name: one.annotation for one in named}
        return taking

    return decorate
