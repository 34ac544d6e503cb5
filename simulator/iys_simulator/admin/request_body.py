"""Orders: what the admin API is told, read field by field.

A field that is missing or of a wrong kind is named in the error.
"""

from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request

from iys_simulator.gateway.gateway import parsed


class BadOrderError(ValueError):
    """A body the admin API cannot follow; the message names the field."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A JSON object with typed reads; each read names the field it misses."""

    fields: dict[str, object]

    def text(self, name: str, default: str | None = None) -> str:
        """Read a text that is not empty."""
        value = self.fields.get(name, default)
        if not isinstance(value, str) or not value:
            raise BadOrderError(f"{name}: a text")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        """Read a whole number; digits in a text count too."""
        value = self.fields.get(name, default)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadOrderError(f"{name}: a whole number")
        return value

    def seconds(self, name: str, default: float | None = None) -> float:
        """Read a number of seconds."""
        value = self.fields.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BadOrderError(f"{name}: seconds")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self.fields.get(name, default)
        if not isinstance(value, bool):
            raise BadOrderError(f"{name}: true or false")
        return value

    def one_of(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Read one of `choices`."""
        value = self.fields.get(name, default)
        if value not in choices:
            raise BadOrderError(f"{name}: one of {', '.join(choices)}")
        return str(value)

    def knows(self, names: Collection[str]) -> None:
        """Refuse a field that is none of `names`: a typing error would change nothing, silently."""
        for name in self.fields:
            if name not in names:
                raise BadOrderError(f"{name}: no such field; there are {', '.join(sorted(names))}")

    def is_null(self, name: str) -> bool:
        """Tell whether the field is there, and null."""
        return name in self.fields and self.fields[name] is None

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self.fields.get(name) is not None


async def order_of(request: Request) -> Order:
    """Read the body of `request`; an empty one is an empty order."""
    body = await request.body()
    return Order(fields=fields_of(parsed(body) if body else {}))


def fields_of(value: object) -> dict[str, object]:
    """Take `value` as a JSON object; `BadOrderError` if it is none."""
    if not isinstance(value, dict):
        raise BadOrderError("a JSON object")
    return value
