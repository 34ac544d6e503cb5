"""The mapping of one system: its payloads as input records, by the engine that reads columns.

Its file has, beside what a mapping of columns has (:mod:`izin.producers.mapping.saved`; a column
here is a place, see :mod:`izin.producers.sources.payloads`)::

    brands = [100001]               # each consent is one of each, unless a column says of which
    channels = ["MESAJ", "ARAMA"]   # the same of channels
    id = "header:X-Webhook-Id"      # the sender's own id: sent again, it is the same event
    records = "/events"             # a list, or one record; "" is the whole payload
    time = "unix"                   # instants are seconds since 1970, or "unix-ms"
    no_statement = ["pending"]      # statuses that say neither yes nor no

    [only]                          # what else is delivered is none of ours
    "/event" = ["unsubscribe", "spamreport"]

    [sender]                        # what proves the sender
    kind = "hmac"
    signature = "header:X-Signature"

    [evidence]                      # what proves the act, by its name there
    ip = "/context/ip"

    [reply]                         # a text that a person has written
    text = "/message"
    opt_out = ["RET", "STOP"]       # anywhere in it, whatever else it says
    [reply.brands]                  # words that name a brand; a text without one means all
    ACME = 100001
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field as Setting, model_validator

from izin.consent import Channel, DateBasis, SourceError, Status, Violation
from izin.iys.wire_format.via import ViaWay
from izin.producers.mapping.columns import Columns, RowPart, resolve
from izin.producers.mapping.field_names import CHANNEL_RECIPIENTS, Field, field_of, violation
from izin.producers.mapping.records import InputRecord, evidence_of, input_record, text_of
from izin.producers.mapping.saved import MappingError, SavedMapping
from izin.producers.sources.payloads import NOTHING, Delivery, Place, place_of, with_value
from izin.producers.sources.senders import SenderProof
from izin.schemas.words import fold, word_key

ORIGINS: Final = "sources/"
"""What the origin of an event of a source begins with."""
FORMS: Final = "forms/"
"""The same of a form."""
_REPLY: Final = "reply"
_BASIS: Final = "date_basis"
_WORDS: Final = re.compile(r"\w+")
_DOTNET: Final = re.compile(r"/Date\((-?[0-9]+)(?:[+-][0-9]{4})?\)/", re.ASCII)
"""An instant as .NET writes it into JSON."""
_OCCASIONS: Final = frozenset({"form", "call", "shop"})
_UNITS: Final[Mapping[str, int]] = {"unix": 1, "unix-ms": 1000}


class ReplyText(BaseModel):
    """The ``[reply]`` of a mapping."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    opt_out: tuple[str, ...] = ("RET", "RED", "IPTAL", "STOP")
    brands: Mapping[str, int] = {}

    @cached_property
    def _opt_outs(self) -> Collection[str]:
        return frozenset(map(fold, self.opt_out))

    @cached_property
    def _named(self) -> Mapping[str, int]:
        return {fold(word): code for word, code in self.brands.items()}

    def status_in(self, text: str) -> str:
        """Return the first word of an opt-out in the ``text`` of a person, else the text."""
        return next((word for word in _WORDS.findall(text) if fold(word) in self._opt_outs), text)

    def brands_in(self, text: str) -> Collection[int]:
        """Return the brands that the ``text`` of a person names."""
        return [self._named[key] for key in map(fold, _WORDS.findall(text)) if key in self._named]


class PayloadMapping(SavedMapping):
    """A mapping as its file has it."""

    sender: SenderProof | None = None
    brands: Annotated[tuple[int, ...], Setting(min_length=1)]
    channels: tuple[Channel, ...] = ()
    id: str | None = None
    records: str = ""
    only: Mapping[str, tuple[str, ...]] = {}
    no_statement: tuple[str, ...] = ()
    time: Literal["unix", "unix-ms"] | None = None
    evidence: Mapping[str, str] = {}
    reply: ReplyText | None = None

    def counts_now(self, status: str) -> bool:
        """Whether a record of this status without a date counts from its receipt."""
        is_received = self.constants.get(_BASIS) == DateBasis.RECEIVED
        # Nobody makes a consent of today of a delivery that was recorded some time ago.
        return is_received and (
            status == Status.RET or (self.sender is not None and self.sender.is_timed)
        )


class SourceMapping(PayloadMapping):
    """The mapping of a system."""

    sender: SenderProof


class FormMapping(PayloadMapping):
    """The mapping of a form."""

    capture: Literal["form", "call", "sms-code", "paper", "shop"] = "form"
    """How the consent is captured."""
    double_opt_in: bool = False
    """Whether an opt-in is published only once the person has confirmed it by a link."""
    confirm_within_days: Annotated[int, Setting(ge=1, le=3)] = 2
    """It counts from when it was entered, and İYS takes it for three business days."""
    via: Mapping[ViaWay, Annotated[str, Setting(min_length=1)]] = {}
    """The forms at İYS, by the way in which it asks for an opt-in (ViA): that is no event of ours,
    and the answer has what is to be posted to `izin api`."""

    @model_validator(mode="after")
    def _sent_by_somebody_known(self) -> Self:
        if self.double_opt_in and self.via:
            raise ValueError("double_opt_in and [via] are two ways to the same; choose one")
        if (self.double_opt_in or self.via) and self.sender is None:
            raise ValueError(
                "double_opt_in or [via] needs a [sender]: the answer is for your back end; by the "
                "link in it whoever fills in a page of their own would confirm themselves"
            )
        if self.via and self.capture not in _OCCASIONS:
            raise ValueError("[via] needs a capture by which the person is here: form, call, shop")
        return self

    def way_of(self, channel: str) -> ViaWay | None:
        """Return how İYS asks for an opt-in of ``channel``; None: it does not."""
        return next((way for way in self.via if channel in way.channels), None)

    def counts_now(self, status: str) -> bool:  # noqa: ARG002  # of either
        """Return True: a form is sent when it is filled in."""
        return True


class SourceRecord(NamedTuple):
    """One consent of a payload."""

    record: InputRecord
    part: object
    """The part of the payload that it is of."""


class Unmapped(NamedTuple):
    """A part of a payload that is none, and why."""

    violations: tuple[Violation, ...]
    part: object


P = TypeVar("P", bound=PayloadMapping)


@dataclass(frozen=True)
class PayloadSource(Generic[P]):
    """One system, or form; raises MappingError where its mapping contradicts itself."""

    name: str
    mapping: P
    secrets: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the mapping."""
        try:
            if self.mapping.sender is not None:
                self.mapping.sender.check()
            _ = self.columns, self.places
        except SourceError as error:
            raise MappingError(f"{self.name}.toml: {error}") from error

    @property
    def origin(self) -> str:
        """The origin of its events."""
        return f"{FORMS if isinstance(self.mapping, FormMapping) else ORIGINS}{self.name}"

    @cached_property
    def columns(self) -> Columns:
        """The field of each place, and of the reply."""
        choices, mapping = self.mapping.choices, self.mapping
        given = {name: text for name, text in choices.given.items() if name != _BASIS}
        held = {*map(field_of, choices.mapped.values()), *map(field_of, given)}
        if Field.BRAND_CODE not in held:
            given[Field.BRAND_CODE] = str(mapping.brands[0])
        if mapping.channels and Field.TYPE not in held:
            given[Field.TYPE] = mapping.channels[0]
        mapped, values = dict(choices.mapped), dict(choices.values)
        if mapping.reply is not None:
            mapped[_REPLY] = Field.STATUS
            opt_outs = (f"{Field.STATUS}:{word}" for word in mapping.reply.opt_out)
            values = dict.fromkeys(opt_outs, str(Status.RET)) | values
        return resolve([*mapped], replace(choices, mapped=mapped, given=given, values=values))

    @cached_property
    def places(self) -> Mapping[str, Place]:
        """Each place that the mapping names."""
        mapping = self.mapping
        texts = {*mapping.columns, *mapping.only, *mapping.evidence.values(), mapping.records}
        texts |= {mapping.reply.text} if mapping.reply else set()
        return {text: place_of(text) for text in texts | set(filter(None, [mapping.id]))}

    def holding(self, payload: object, parts: Sequence[object]) -> object:
        """Return ``payload`` with some of its records alone; without a payload these at their
        place.
        """
        return with_value(payload, self.places[self.mapping.records].parts, parts)

    def headers_of(self, delivery: Delivery) -> Mapping[str, str]:
        """Return the headers of ``delivery`` that the mapping reads, but for what proves it."""
        names = {place.name for place in self.places.values() if place.kind == "header"}
        return {name: text for name, text in delivery.headers.items() if name in names}

    def prove(self, delivery: Delivery, payload: object, now: datetime) -> None:
        """Raise RequestRefusedError (401) where ``delivery`` does not prove its sender."""
        sender = self.mapping.sender
        if sender and (refusal := sender.refusal(delivery, payload, self.secrets, now)):
            raise refusal.error()

    def read(self, delivery: Delivery, payload: object) -> Iterator[SourceRecord | Unmapped]:
        """Yield what the ``payload`` of ``delivery`` says; nothing of what is none of ours."""
        found = self.places[self.mapping.records].find(delivery, payload, payload)
        if found is NOTHING:
            yield Unmapped(unmapped(f"nothing is at {self.mapping.records}"), payload)
            return
        for part in found if isinstance(found, list) else [found]:
            if self._is_meant(delivery, payload, part):
                yield from self._read_part(delivery, payload, part)

    def _is_meant(self, delivery: Delivery, payload: object, part: object) -> bool:
        return all(
            str(self.places[place].find(delivery, payload, part)) in accepted
            for place, accepted in self.mapping.only.items()
        )

    def _read_part(
        self, delivery: Delivery, payload: object, part: object
    ) -> Iterator[SourceRecord | Unmapped]:
        """Yield what one ``part`` of a payload says, whatever it is about."""

        def at(place: str) -> Any:  # noqa: ANN401  # JSON
            found = self.places[place].find(delivery, payload, part)
            return None if found is NOTHING else found

        faults: list[Violation] = []
        mapping, columns = self.mapping, self.columns
        units = self._units
        row = [
            text_of(place, _instant(at(place), units.get(place)), faults)
            for place in mapping.columns
        ]
        brands: Collection[int] = mapping.brands
        if mapping.reply is not None:
            text = text_of(mapping.reply.text, at(mapping.reply.text), faults)
            brands = mapping.reply.brands_in(text) or mapping.brands
            row.append(mapping.reply.status_in(text))
        pairs = [(name, at(place)) for name, place in mapping.evidence.items()]
        evidence = evidence_of([pair for pair in pairs if pair[1] is not None], faults)
        reference = None if mapping.id is None else text_of(mapping.id, at(mapping.id), faults)
        said = [one for one in columns.parts(row) if self._states(one, row)]
        if faults and not said:
            yield Unmapped(tuple(faults), part)
        for one in said:
            for values in self._each(one, brands):
                record = input_record(
                    values=values,
                    reference=reference or _reference(part, values),
                    evidence=evidence,
                    is_live=mapping.counts_now(values[Field.STATUS]),
                    violations=tuple(faults),
                    recipient_name=Field.RECIPIENT,
                )
                yield SourceRecord(record, part)

    def _each(self, part: RowPart, brands: Collection[int]) -> Iterator[dict[Field, str]]:
        """Yield what ``part`` says, of each brand and channel that it is meant for."""
        held = self._held
        channels: Sequence[str] = self.mapping.channels
        if part.name or Field.TYPE in held or not channels:
            channels = [part.values[Field.TYPE]]
        codes = [part.values[Field.BRAND_CODE]]
        if Field.BRAND_CODE not in held:
            codes = [str(code) for code in brands]
        given = {name for name, text in part.values.items() if text}
        # Of nobody at all it is refused, and becomes a dead letter: an opt-out never vanishes.
        meant = [
            channel
            for channel in channels
            if Field.RECIPIENT in given or CHANNEL_RECIPIENTS.get(channel) in given
        ] or channels[:1]
        for channel, code in product(meant, codes):
            yield {**part.values, Field.TYPE: channel, Field.BRAND_CODE: code}

    def _states(self, part: RowPart, row: Sequence[str]) -> bool:
        """Whether ``part`` says yes or no, of somebody."""
        if part.lacks_recipient:
            return False
        if not self._silent:
            return True
        _, place = self.columns.column_of(Field.STATUS, row, part.name)
        return place is None or word_key(row[place]) not in self._silent

    @cached_property
    def _silent(self) -> Collection[str]:
        return frozenset(map(word_key, self.mapping.no_statement))

    @cached_property
    def _held(self) -> Collection[Field]:
        return frozenset(held for held, _ in self.columns.places)

    @cached_property
    def _units(self) -> Mapping[str, int]:
        """Of the places of instants that are numbers: how many of their unit are a second."""
        if self.mapping.time is None:
            return {}
        names = {place: name.rpartition(".")[2] for place, name in self.mapping.columns.items()}
        unit = _UNITS[self.mapping.time]
        return {place: unit for place, one in names.items() if field_of(one) is Field.CONSENT_DATE}


def _instant(value: object, unit: int | None) -> object:
    """Return a number that is an instant, in a ``unit``, as a date."""
    if unit is None or value is None:
        return value
    text = str(value)
    if found := _DOTNET.fullmatch(text):
        text = found[1]
    try:
        return datetime.fromtimestamp(float(text) / unit, UTC).isoformat("T", "seconds")
    except (ValueError, OverflowError, OSError):
        return text


def _reference(part: object, values: Mapping[Field, str]) -> str | None:
    """Return what identifies a record that the sender has no id for: all that it says, where it
    says when. Without a date, the same once more is a new act.
    """
    if not values.get(Field.CONSENT_DATE):
        return None
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def unmapped(reason: str) -> tuple[Violation, ...]:
    """Return why a payload says nothing."""
    return (violation("", "IZIN-PAYLOAD", what=reason),)
