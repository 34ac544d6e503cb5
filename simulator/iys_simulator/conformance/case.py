"""A case: one request to one operation, what must be set up before it, and what must be answered.

Cases are data. A text such as `$phone` in a path or a body stands for a value of the run; a text
that is nothing else becomes that value itself, so `"$retailer"` is a number. There are:

- `$iysCode`, `$brandCode`, `$username`, `$password`: whose consents; `$integratorCode`: a partner;
- `$phone`, `$otherPhone`, `$email`: addresses no case has used before;
- `$now`, `$minuteAgo`, `$yesterday`, `$monthAgo`, `$tomorrow`: wire texts; `$today`: a date;
- `$retailer`: a retailer of the brand; `$receiver`: a push address that behaves.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from string import Template

ADMIN = "/__simulator__/"
NOTHING = object()
"""No body at all."""

LEFT_OUT = object()
"""A field that is not sent."""


class Speaker(StrEnum):
    """Whose token a request carries."""

    PROVIDER = "provider"
    PARTNER = "partner"
    NOBODY = "nobody"  # no Authorization header
    GARBAGE = "garbage"  # a token nobody gave out
    BASIC = "basic"  # a user name and a password, both wrong
    EMPTY_BASIC = "empty basic"  # neither


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One of İYS's operations: a method and a path as its description writes it."""

    method: str
    path: str
    weather: str
    """The name the twin's weather knows it by."""

    @property
    def name(self) -> str:
        """Method and path, as reports name it."""
        return f"{self.method} {self.path}"

    @property
    def is_of_a_brand(self) -> bool:
        """Whether it speaks of one brand."""
        return "{brandCode}" in self.path

    @property
    def is_of_a_provider(self) -> bool:
        """Whether it speaks of one service provider."""
        return "{iysCode}" in self.path


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A request before the one that matters, or a change through the twin's admin API.

    `keeps` names values of the answer (a key path such as `0.requestId`) for what follows.
    """

    method: str
    path: str
    body: object = NOTHING
    speaker: Speaker = Speaker.PROVIDER
    keeps: Mapping[str, str] = field(default_factory=dict)
    may_fail: bool = False

    @property
    def is_for_the_twin(self) -> bool:
        """Whether only our simulator can be asked it."""
        return self.path.startswith(ADMIN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What must be answered.

    `code` is an H-code among `errors`, with its `location` and `index` where they are given; `has`
    are values by key path (`0.error.code`), where `...` is any value that is not null.
    """

    status: int
    code: str | None = None
    location: tuple[object, ...] | None = None
    index: int | None = None
    has: Mapping[str, object] = field(default_factory=dict)

    def filled(self, values: Mapping[str, object]) -> "Expected":
        """Give the same with its names replaced."""
        return replace(self, has={path: filled(value, values) for path, value in self.has.items()})

    @property
    def codes(self) -> frozenset[str]:
        """The H-codes this answer shows."""
        shown = {value for value in self.has.values() if isinstance(value, str) and is_code(value)}
        return frozenset(shown | ({self.code} if self.code else set()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One request to `operation` and the answer it must get, in a sentence: `what`.

    `at` fills the path's other parameters; `is_form` sends the body as a form instead of JSON.
    """

    operation: Operation
    what: str
    expected: Expected
    body: object = NOTHING
    at: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, object] = field(default_factory=dict)
    is_form: bool = False
    speaker: Speaker = Speaker.PROVIDER
    given: tuple[Step, ...] = ()

    @property
    def needs_twin(self) -> bool:
        """Whether the set-up needs the twin's admin API."""
        return any(step.is_for_the_twin for step in self.given) or self.needs_partner

    @property
    def needs_partner(self) -> bool:
        """Whether a business partner speaks or is spoken of."""
        speakers = {self.speaker, *(step.speaker for step in self.given)}
        return Speaker.PARTNER in speakers or "{integratorCode}" in self.operation.path

    @property
    def needs_receiver(self) -> bool:
        """Whether a push address that behaves is needed."""
        return any(mentions(body, "$receiver") for body in (self.body, *_bodies(self.given)))

    @property
    def needs_retailer(self) -> bool:
        """Whether a retailer of the brand is needed."""
        path = [it for name, it in self.at.items() if f"{{{name}}}" in self.operation.path]
        asked = (self.body, path, *_bodies(self.given))
        return any(mentions(part, "$retailer") for part in asked)

    @property
    def is_apart(self) -> bool:
        """Whether it changes accounts or brands, so that no other case may share them."""
        own = (f"{ADMIN}accounts", f"{ADMIN}brands")
        return any(step.path in own for step in self.given)


def _bodies(steps: Iterable[Step]) -> Iterator[object]:
    return (step.body for step in steps)


def is_code(text: str) -> bool:
    """Tell whether `text` is an H-code."""
    return text[:1] == "H" and text[1:].isdecimal()


def mentions(template: object, name: str) -> bool:
    """Tell whether `name` stands anywhere in `template`."""
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
    """Give `template` with its `$names` replaced; `KeyError` names one that has no value."""
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


def found(content: object, path: str) -> object:
    """Give what stands at a key path such as `list.0.status`; None where nothing does."""
    for part in path.split("."):
        match content:
            case dict():
                content = content.get(part)
            case list() if part.isdecimal() and int(part) < len(content):
                content = content[int(part)]
            case _:
                return None
    return content
