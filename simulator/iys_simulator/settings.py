"""What can be chosen about the twin. Defaults are İYS's own, as far as its documents tell.

A switch exists where İYS's documents contradict themselves or one another, or where it is not known
how the service behaves; the note at each says which.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints


class UnknownSettingError(ValueError):
    """A setting that does not exist, or a value it cannot take. The message names the setting."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All switches. Durations are seconds, sizes are counts."""

    result_delay: Annotated[float, "after which a batch is processed, its results there"] = 300.0
    enqueue_share: Annotated[float, "share of that delay after which `[]` becomes `enqueue`"] = 0.5
    result_days: Annotated[int, "requestIds older than so many days answer `[]`"] = 60
    batch_status: Annotated[Literal["202", "200"], "of an accepted batch; an older page: 200"] = (
        "202"
    )
    request_id_format: Annotated[
        Literal["uuid", "hex"], "documented: with dashes; seen in production: 32 hex digits"
    ] = "uuid"
    sub_request_spelling: Annotated[
        Literal["mixed", "subRequestId", "subrequestId"],
        "examples: `subrequestId` while an item waits; the schema: always",
    ] = "mixed"
    result_index: Annotated[Literal["from_0", "from_1"], "an older page counts from 1"] = "from_0"
    v2_flag: Annotated[Literal["text", "boolean"], "isAddConsentV2Service: example, schema"] = (
        "text"
    )
    v2_memory: Annotated[
        float, "how long a V2 single add is known again; 0: for ever; not documented"
    ] = 0.0
    hidden_window: Annotated[float, "pull hides the latest movements for so long"] = 3600.0
    pull_window: Annotated[float, "pull shows no movement older than this"] = 7 * 86400.0
    cursor_unit: Annotated[
        Literal["seconds", "milliseconds"], "of `after`; an older page: milliseconds"
    ] = "seconds"

    requests_per_second: Annotated[int, "H124, a client address over all methods; 0: none"] = 10
    request_window: Annotated[
        Literal["fixed", "sliding"], "how that second is counted; not documented"
    ] = "fixed"
    request_jitter: Annotated[float, "a request arrives up to so much later; usual: 0.08"] = 0.0
    rate_code: Annotated[Literal["H124", "H083"], "of that limit; the table has both"] = "H124"
    retry_after: Annotated[bool, "whether a 429 names the seconds to wait; not documented"] = False
    hour: Annotated[float, "how long the hour of H084, H086 and H089 is"] = 3600.0
    status_limit: Annotated[int, "H086, single status queries an hour; 0: no limit"] = 1000
    history_limit: Annotated[int, "H089, history queries an hour; 0: no limit"] = 100
    token_limit: Annotated[int, "H084, token requests an hour; another page: 100; 0: none"] = 10
    h084_shape: Annotated[Literal["errors", "flat"], "its body; a client in use reads it flat"] = (
        "errors"
    )
    h084_text: Annotated[Literal["table", "section"], "its wording; two stand in the documents"] = (
        "table"
    )
    refresh_counts: Annotated[bool, "whether a renewal counts for H084; not documented"] = True
    quality_requests: Annotated[int, "in 24 h, from which the success rate counts; 0: never"] = (
        20_000
    )
    quality_rate: Annotated[float, "success rate below which a client gets notice"] = 0.7
    quality_grace: Annotated[float, "from notice until it is off the whitelist"] = 96 * 3600.0
    removed_client: Annotated[
        Literal["drop", "forbidden"], "how it fares then: cut off, or 403; not documented"
    ] = "drop"

    access_token_lifetime: Annotated[float, "expires_in"] = 7200.0
    refresh_token_lifetime: Annotated[float, "refresh_expires_in"] = 14400.0
    refresh_rotates: Annotated[bool, "a refresh token is used up by its use; not documented"] = True
    unknown_grant: Annotated[
        Literal["invalid_grant", "unsupported_grant_type"], "documented; seen in production"
    ] = "invalid_grant"

    batch_size: Annotated[int, "items of a batch"] = 1000
    batch_code: Annotated[Literal["H091", "H125"], "of a longer one; the table has both"] = "H091"
    recipients_size: Annotated[int, "addresses of a multiple status query (H127)"] = 1000
    access_size: Annotated[int, "retailers of an add (H126); retailer access always takes 100"] = (
        3000
    )
    phone_check: Annotated[
        Literal["possible", "valid"], "İYS's own examples are possible, but not all valid"
    ] = "possible"
    future_skew: Annotated[float, "how far ahead a consent date may be (H162); not documented"] = (
        0.0
    )
    late_mode: Annotated[
        Literal["end_of_day", "sliding"],
        "H467: until the end of the third business day, or the same time of day on it",
    ] = "end_of_day"
    late_applies_to: Annotated[
        Literal["all", "ONAY"], "H467: whether a RET may be late; not documented"
    ] = "all"
    late_status: Annotated[
        Literal["422", "400"], "H467 of a single add; both stand in the examples"
    ] = "422"
    equal_date: Annotated[
        Literal["refused", "accepted"], "a date equal to the registered one: H178, or taken"
    ] = "refused"
    onay_again: Annotated[
        Literal["renews", "refused"], "ONAY on ONAY: the rule since 2020, or H174 by its wording"
    ] = "renews"
    first_tacir_ret: Annotated[
        Literal["refused", "accepted"], "whether a trader's first record may be RET"
    ] = "refused"
    unknown_status: Annotated[
        Literal["empty", "not_found"], "single status of an unknown address; not documented"
    ] = "empty"
    missing_right: Annotated[
        Literal["type", "brandCode"], "what H353 names where a right is missing; not documented"
    ] = "type"

    wording: Annotated[
        Literal["examples", "table"],
        "whose words errors have: those of the methods' examples, or of the table of codes",
    ] = "examples"
    forbidden_spelling: Annotated[
        Literal["code", "code:"], "key of H353 in the older methods; examples: `code:`"
    ] = "code"
    paging_codes: Annotated[
        Literal["examples", "table"], "which of H182 and H183 is the limit's"
    ] = "examples"
    subscription_key: Annotated[
        Literal["subscriptionId", "subscipritionId", "subsciprtionId"],
        "all three stand in the documents",
    ] = "subscriptionId"
    town_key: Annotated[Literal["city_code", "cityCode"], "examples; the schema"] = "city_code"
    environment: Annotated[
        Literal["prod", "sandbox"], "a sandbox has no lists of partners (H363)"
    ] = "prod"

    report_delay: Annotated[float, "from midnight until a day's file is there"] = 0.0
    csv_header: Annotated[bool, "whether that file, and its hash, begin with column names"] = True
    day_file_lines: Annotated[
        Literal["each", "one"], "movements of one address in one second: a line each, or the last"
    ] = "each"
    agreement_key: Annotated[
        Literal["agreementCaptured", "aggrementCaptured"], "the example; the schema"
    ] = "agreementCaptured"

    push_https_required: Annotated[bool, "H531"] = True
    push_verify_tls: Annotated[bool, "whether a receiver's certificate is checked"] = True
    push_timeout: Annotated[float, "H191, and for deliveries"] = 5.0
    push_connections: Annotated[int, "standing connections a type and brand"] = 2
    push_size: Annotated[int, "movements in one delivery at most; not documented"] = 100
    push_retries: Annotated[int, "tries after a failed delivery; not documented"] = 3
    push_backoff: Annotated[float, "before the first of them; doubles each time"] = 1.0

    def changed(self, values: Mapping[str, object]) -> Self:
        """Give these settings with `values` changed; `UnknownSettingError` if one is wrong.

        Names are those of the fields, or as the admin API has them (`lateMode`).
        """
        hints = get_type_hints(type(self))
        accepted: dict[str, Any] = {}
        for told, value in values.items():
            name = _FIELDS.get(told, told)
            if name not in hints:
                raise UnknownSettingError(f"{told}: no such setting")
            accepted[name] = _accepted(told, hints[name], value)
        return replace(self, **accepted)

    def changed_by_words(self, words: Iterable[str]) -> Self:
        """Give these settings with each `name=value` of `words` changed; see `changed`."""
        hints = get_type_hints(type(self))
        values: dict[str, object] = {}
        for word in words:
            told, _, text = word.partition("=")
            kind = hints.get(_FIELDS.get(told, told))
            values[told] = text if get_args(kind) else _read(text)
        return self.changed(values)

    def as_dict(self) -> dict[str, object]:
        """All settings as the admin API names them."""
        return {_told_name(name): value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """A setting as it is told: its name, what it takes, its default and what it means."""

    name: str
    values: str
    default: object
    meaning: str


def switches() -> list[Switch]:
    """Give all settings for people to read."""
    hints = get_type_hints(Settings, include_extras=True)
    return [
        Switch(
            name=_told_name(field.name),
            values=_takes(get_type_hints(Settings)[field.name]),
            default=field.default,
            meaning="".join(getattr(hints[field.name], "__metadata__", ())),
        )
        for field in fields(Settings)
    ]


def _takes(kind: type) -> str:
    choices = get_args(kind)
    if choices:
        return " or ".join(choices)
    return {bool: "true or false", int: "whole number", float: "number"}[kind]


def _told_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


_FIELDS = {_told_name(field.name): field.name for field in fields(Settings)}


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _accepted(name: str, kind: type, value: object) -> object:
    choices = get_args(kind)
    if choices:
        if value in choices:
            return value
        raise UnknownSettingError(f"{name}: one of {', '.join(choices)}")
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise UnknownSettingError(f"{name}: true or false")
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    is_wrong = number is None or not math.isfinite(number) or number < 0
    if is_wrong or (kind is int and not isinstance(number, int)):
        raise UnknownSettingError(f"{name}: a {_takes(kind)} of zero or more")
    return number
