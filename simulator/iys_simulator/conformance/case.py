"""A case: one request to one endpoint, its setup, and the expected response.

Cases are data. A text such as `$phone` in a path or a body stands for a value of the run; a text
that is nothing else becomes that value itself, so `"$retailer"` is a number. There are:

- `$iysCode`, `$brandCode`, `$username`, `$password`: the account; `$integratorCode`: a partner;
- `$phone`, `$otherPhone`, `$email`: recipients that no case has used before;
- `$now`, `$minuteAgo`, `$yesterday`, `$monthAgo`, `$tomorrow`: wire texts; `$today`: a date;
- `$retailer`: a retailer of the brand; `$receiver`: a push address that accepts registration.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from string import Template

ADMIN = "/__simulator__/"
NO_BODY = object()
"""No body at all."""

OMITTED = object()
"""A field that is omitted."""


class Caller(StrEnum):
    """Whose credentials a request has."""

    PROVIDER = "provider"
    PARTNER = "partner"
    NOBODY = "nobody"  # no Authorization header
    GARBAGE = "garbage"  # a token that was never issued
    BASIC = "basic"  # a wrong user name and password
    EMPTY_BASIC = "empty basic"  # an empty user name and password


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An endpoint of İYS: a method, and a path as its description writes it."""

    method: str
    path: str
    fault_name: str
    """Its name in the simulator's fault rules."""

    @property
    def name(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def has_brand(self) -> bool:
        """Whether the path names a brand."""
        return "{brandCode}" in self.path

    @property
    def has_provider(self) -> bool:
        """Whether the path names a service provider."""
        return "{iysCode}" in self.path


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A request of the setup, or a change through the simulator's admin API.

    `saves` names values of the response (by a key path such as `0.requestId`) for later requests.
    """

    method: str
    path: str
    body: object = NO_BODY
    caller: Caller = Caller.PROVIDER
    saves: Mapping[str, str] = field(default_factory=dict)
    may_fail: bool = False

    @property
    def uses_admin_api(self) -> bool:
        """Whether the request goes to the simulator's admin API."""
        return self.path.startswith(ADMIN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """The expected response.

    `code` is an H-code among `errors`, with its `location` and `index` where they are given; `has`
    are values by key path (`0.error.code`), where `...` is any value that is not null.
    """

    status: int
    code: str | None = None
    location: tuple[object, ...] | None = None
    index: int | None = None
    has: Mapping[str, object] = field(default_factory=dict)

    def filled(self, values: Mapping[str, object]) -> "Expected":
        """Return the same with its `$names` replaced."""
        return replace(self, has={path: filled(value, values) for path, value in self.has.items()})

    @property
    def codes(self) -> frozenset[str]:
        """The H-codes of the response."""
        codes = {value for value in self.has.values() if isinstance(value, str) and is_code(value)}
        return frozenset(codes | ({self.code} if self.code else set()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One request to `endpoint` and the expected response, with a `title`.

    `path_params` are the path's other parameters; `is_form` sends the body as a form, not as JSON.
    """

    endpoint: Endpoint
    title: str
    expected: Expected
    body: object = NO_BODY
    path_params: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, object] = field(default_factory=dict)
    is_form: bool = False
    caller: Caller = Caller.PROVIDER
    setup: tuple[Step, ...] = ()

    @property
    def needs_admin_api(self) -> bool:
        """Whether the setup needs the simulator's admin API."""
        return any(step.uses_admin_api for step in self.setup) or self.needs_partner

    @property
    def needs_partner(self) -> bool:
        """Whether a business partner calls, or is named in the path."""
        speakers = {self.caller, *(step.caller for step in self.setup)}
        return Caller.PARTNER in speakers or "{integratorCode}" in self.endpoint.path

    @property
    def needs_receiver(self) -> bool:
        """Whether a working push address is needed."""
        return any(mentions(body, "$receiver") for body in (self.body, *_bodies(self.setup)))

    @property
    def needs_retailer(self) -> bool:
        """Whether a retailer of the brand is needed."""
        path = [it for name, it in self.path_params.items() if f"{{{name}}}" in self.endpoint.path]
        parts = (self.body, path, *_bodies(self.setup))
        return any(mentions(part, "$retailer") for part in parts)

    @property
    def is_isolated(self) -> bool:
        """Whether it changes accounts or brands, so that no other case may share them."""
        admin_paths = (f"{ADMIN}accounts", f"{ADMIN}brands")
        return any(step.path in admin_paths for step in self.setup)


def _bodies(steps: Iterable[Step]) -> Iterator[object]:
    return (step.body for step in steps)


def is_code(text: str) -> bool:
    """Return whether `text` is an H-code."""
    return text[:1] == "H" and text[1:].isdecimal()


def mentions(template: object, name: str) -> bool:
    """Return whether `name` occurs anywhere in `template`."""
    match template:
        case str():
            return name in template
        case dict():
            return any(mentions(part, name) for part in template.values())
        case list() | tuple():
            return any(mentions(part, name) for part in template)
        case _:
            return False


def filled(template: object, values: Mapping[str, object]) -> object:
    """Return `template` with its `$names` replaced.

    Raises:
        KeyError: a name has no value.
    """
    match template:
        case str() if template.startswith("$") and template[1:] in values:
            return values[template[1:]]
        case str():
            return Template(template).substitute({name: str(it) for name, it in values.items()})
        case dict():
            return {name: filled(part, values) for name, part in template.items()}
        case list() | tuple():
            return [filled(part, values) for part in template]
        case _:
            return template


def value_at(content: object, path: str) -> object:
    """Return the value at a key path such as `list.0.status`; None where there is none."""
    for part in path.split("."):
        match content:
            case dict():
                content = content.get(part)
            case list() if part.isdecimal() and int(part) < len(content):
                content = content[int(part)]
            case _:
                return None
    return content
