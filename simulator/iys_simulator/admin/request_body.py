"""Bodies of the admin API, read field by field.

An error names the field that is missing or invalid.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from iys_simulator.gateway.call import parse_json


class InvalidBodyError(ValueError):
    """A body that the admin API cannot use; the message names the field."""


@dataclass(frozen=True, kw_only=True)
class RequestBody:
    """A JSON object with typed reads, each of which raises InvalidBodyError with its field."""

    fields: dict[str, object]

    def over(self, known: Mapping[str, object]) -> "RequestBody":
        """Return a body in which the fields that this one omits have their `known` values."""
        return RequestBody(fields={**known, **self.fields})

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text that is not empty."""
        value = self.fields.get(name, default)
        if not isinstance(value, str) or not value:
            raise InvalidBodyError(f"{name}: a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None where the field is absent or null."""
        return self.text(name) if self.has(name) else None

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number; a text of digits counts too."""
        value = self.fields.get(name, default)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidBodyError(f"{name}: a whole number")
        return value

    def optional_whole(self, name: str) -> int | None:
        """Return a whole number, or None where the field is absent or null."""
        return self.whole(name) if self.has(name) else None

    def seconds(self, name: str, default: float | None = None) -> float:
        """Return a number of seconds."""
        value = self.fields.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidBodyError(f"{name}: seconds")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.fields.get(name, default)
        if not isinstance(value, bool):
            raise InvalidBodyError(f"{name}: true or false")
        return value

    def one_of(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Return one of `choices`."""
        value = self.fields.get(name, default)
        if value not in choices:
            raise InvalidBodyError(f"{name}: one of {', '.join(choices)}")
        return str(value)

    def check_names(self, names: Collection[str]) -> None:
        """Raise InvalidBodyError for an unknown field: a misspelt one would have no effect."""
        for name in self.fields:
            if name not in names:
                known = ", ".join(sorted(names))
                raise InvalidBodyError(f"{name}: no such field; there are {known}")

    def is_null(self, name: str) -> bool:
        """Return whether the field is present and null."""
        return name in self.fields and self.fields[name] is None

    def has(self, name: str) -> bool:
        """Return whether the field is present and not null."""
        return self.fields.get(name) is not None


async def read_body(request: Request) -> RequestBody:
    """Return the body of `request`; an empty body has no fields.

    Raises:
        InvalidBodyError: it is no JSON object.
        RefusedError: it is no JSON.
    """
    content = await request.body()
    return RequestBody(fields=as_object(parse_json(content) if content else {}))


def as_object(value: object) -> dict[str, object]:
    """Return `value`, which must be a JSON object.

    Raises:
        InvalidBodyError: it is none.
    """
    if not isinstance(value, dict):
        raise InvalidBodyError("a JSON object")
    return value
