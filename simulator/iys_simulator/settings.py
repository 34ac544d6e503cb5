"""The simulator's switches. Defaults are İYS's own, as far as its documents say.

A switch exists where İYS's documents contradict themselves or one another, or where it is not known
how the service behaves; each switch's note says which.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints


class UnknownSettingError(ValueError):
    """A setting that does not exist, or a value it cannot have. The message names the setting."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All switches. Durations are seconds, sizes are counts."""

    result_delay: Annotated[float, "after which a batch is processed and has results"] = 300.0
    enqueue_share: Annotated[
        float, "share of that delay after which results change from `[]` to `enqueue`"
    ] = 0.5
    result_days: Annotated[int, "requestIds older than this many days have the results `[]`"] = 60
    batch_status: Annotated[
        Literal["202", "200"], "HTTP status of an accepted batch; an older page says 200"
    ] = "202"
    request_id_format: Annotated[
        Literal["uuid", "hex"], "documented with dashes; seen in production as 32 hex digits"
    ] = "uuid"
    sub_request_spelling: Annotated[
        Literal["mixed", "subRequestId", "subrequestId"],
        "the examples have `subrequestId` while an item waits, the schema always",
    ] = "mixed"
    result_index: Annotated[
        Literal["from_0", "from_1"], "first index of a batch's results; an older page counts from 1"
    ] = "from_0"
    v2_flag: Annotated[
        Literal["text", "boolean"],
        "type of isAddConsentV2Service: text in the example, boolean in the schema",
    ] = "text"
    v2_memory: Annotated[
        float, "how long the same V2 single add gets the same response; 0: always; not documented"
    ] = 0.0
    hidden_window: Annotated[float, "how long pull hides a new movement"] = 3600.0
    pull_window: Annotated[float, "age of the oldest movement that pull shows"] = 7 * 86400.0
    cursor_unit: Annotated[
        Literal["seconds", "milliseconds"],
        "unit of the time in `after`; an older page has milliseconds",
    ] = "seconds"

    requests_per_second: Annotated[
        int, "H124: requests of a client address to all endpoints; 0: no limit"
    ] = 10
    request_window: Annotated[
        Literal["fixed", "sliding"], "how that second is counted; not documented"
    ] = "fixed"
    request_jitter: Annotated[float, "random delay of a request, up to this; 0.08 is typical"] = 0.0
    rate_code: Annotated[Literal["H124", "H083"], "code of that limit; the table has both"] = "H124"
    retry_after: Annotated[bool, "whether a 429 has a Retry-After header; not documented"] = False
    hour: Annotated[float, "length of the hour of H084, H086 and H089"] = 3600.0
    status_limit: Annotated[int, "H086: single status queries per hour; 0: no limit"] = 1000
    history_limit: Annotated[int, "H089: history queries per hour; 0: no limit"] = 100
    token_limit: Annotated[
        int, "H084: token requests per hour; another page says 100; 0: no limit"
    ] = 10
    h084_shape: Annotated[
        Literal["errors", "flat"], "body of H084; a client in use reads it without the envelope"
    ] = "errors"
    h084_text: Annotated[Literal["table", "section"], "message of H084; the documents have two"] = (
        "table"
    )
    refresh_counts: Annotated[bool, "whether a token refresh counts for H084; not documented"] = (
        True
    )
    quality_requests: Annotated[
        int, "requests in 24 h from which the success rate is checked; 0: never"
    ] = 20_000
    quality_rate: Annotated[float, "success rate below which a client gets a notice"] = 0.7
    quality_grace: Annotated[float, "from the notice to the removal from the whitelist"] = (
        96 * 3600.0
    )
    removed_client: Annotated[
        Literal["drop", "forbidden"],
        "response to a removed client: connection dropped, or 403; not documented",
    ] = "drop"

    access_token_lifetime: Annotated[float, "`expires_in` of an access token"] = 7200.0
    refresh_token_lifetime: Annotated[float, "`refresh_expires_in` of a refresh token"] = 14400.0
    refresh_rotates: Annotated[
        bool, "whether a refresh token can be used only once; not documented"
    ] = True
    unknown_grant: Annotated[
        Literal["invalid_grant", "unsupported_grant_type"],
        "error of an unknown grant type: documented, and seen in production",
    ] = "invalid_grant"

    batch_size: Annotated[int, "largest number of items of a batch"] = 1000
    batch_code: Annotated[Literal["H091", "H125"], "code of a longer batch; the table has both"] = (
        "H091"
    )
    recipients_size: Annotated[int, "recipients of a multiple status query (H127)"] = 1000
    access_size: Annotated[
        int, "retailers of an add (H126); retailer access always accepts 100"
    ] = 3000
    phone_check: Annotated[
        Literal["possible", "valid"],
        "how strictly phone numbers are checked; İYS's examples are possible, not all valid",
    ] = "possible"
    future_skew: Annotated[
        float, "how far in the future a consent date may be (H162); not documented"
    ] = 0.0
    late_mode: Annotated[
        Literal["end_of_day", "sliding"],
        "H467: until the end of the third business day, or the same time of day on it",
    ] = "end_of_day"
    late_applies_to: Annotated[
        Literal["all", "ONAY"], "H467: whether it applies to opt-outs (RET) too; not documented"
    ] = "all"
    late_status: Annotated[
        Literal["422", "400"], "HTTP status of H467 in a single add; the examples have both"
    ] = "422"
    equal_date: Annotated[
        Literal["refused", "accepted"], "a date equal to the registered one: H178, or accepted"
    ] = "refused"
    onay_again: Annotated[
        Literal["renews", "refused"], "ONAY after ONAY: accepted since 2020, or H174 by its message"
    ] = "renews"
    first_tacir_ret: Annotated[
        Literal["refused", "accepted"], "whether the first record of a merchant (TACIR) may be RET"
    ] = "refused"
    unknown_status: Annotated[
        Literal["empty", "not_found"],
        "response to a single status query of an unknown recipient; not documented",
    ] = "empty"
    missing_right: Annotated[
        Literal["type", "brandCode"],
        "field that H353 names where a right is missing; not documented",
    ] = "type"

    wording: Annotated[
        Literal["examples", "table"],
        "messages of errors: those of the endpoints' examples, or of the table of codes",
    ] = "examples"
    forbidden_spelling: Annotated[
        Literal["code", "code:"], "key of H353 in the older endpoints; the examples have `code:`"
    ] = "code"
    paging_codes: Annotated[
        Literal["examples", "table"], "which of H182 and H183 refuses the limit"
    ] = "examples"
    subscription_key: Annotated[
        Literal["subscriptionId", "subscipritionId", "subsciprtionId"],
        "key of the subscription's id; the documents have all three",
    ] = "subscriptionId"
    town_key: Annotated[
        Literal["city_code", "cityCode"],
        "key of a town's city: as in the examples, or in the schema",
    ] = "city_code"
    environment: Annotated[
        Literal["prod", "sandbox"],
        "whether partners may list their brands; a sandbox refuses (H363)",
    ] = "prod"

    report_delay: Annotated[float, "from midnight until a day's file is available"] = 0.0
    csv_header: Annotated[bool, "whether that file (and its hash) begins with column names"] = True
    day_file_lines: Annotated[
        Literal["each", "one"],
        "movements of one recipient in one second: a line each, or only the last",
    ] = "each"
    agreement_key: Annotated[
        Literal["agreementCaptured", "aggrementCaptured"],
        "key of a saved agreement: as in the example, or in the schema",
    ] = "agreementCaptured"

    push_https_required: Annotated[bool, "whether push addresses must use https (H531)"] = True
    push_verify_tls: Annotated[bool, "whether a receiver's certificate is checked"] = True
    push_timeout: Annotated[
        float, "timeout of a registration's test calls (H191) and of deliveries"
    ] = 5.0
    push_connections: Annotated[int, "active connections of one type of a brand"] = 2
    push_size: Annotated[int, "largest number of movements in one delivery; not documented"] = 100
    push_retries: Annotated[int, "retries after a failed delivery; not documented"] = 3
    push_backoff: Annotated[float, "delay before the first retry; doubles with each"] = 1.0

    def changed(self, values: Mapping[str, object]) -> Self:
        """Return these settings with `values` changed.

        Names are those of the fields, or those of the admin API (`lateMode`).

        Raises:
            UnknownSettingError: a name does not exist, or a value is invalid.
        """
        hints = get_type_hints(type(self))
        accepted: dict[str, Any] = {}
        for given_name, value in values.items():
            name = _FIELDS.get(given_name, given_name)
            if name not in hints:
                raise UnknownSettingError(f"{given_name}: no such setting")
            accepted[name] = _accepted(given_name, hints[name], value)
        return replace(self, **accepted)

    def changed_by_words(self, words: Iterable[str]) -> Self:
        """Return these settings with each `name=value` of `words` changed.

        Raises:
            UnknownSettingError: a name does not exist, or a value is invalid.
        """
        hints = get_type_hints(type(self))
        values: dict[str, object] = {}
        for word in words:
            name, _, text = word.partition("=")
            kind = hints.get(_FIELDS.get(name, name))
            values[name] = text if get_args(kind) else _read(text)
        return self.changed(values)

    def as_dict(self) -> dict[str, object]:
        """Return all settings under their names in the admin API."""
        return {_camel_case(name): value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """A setting's documentation: its name, its values, its default and its meaning."""

    name: str
    values: str
    default: object
    meaning: str


def switches() -> list[Switch]:
    """Return the documentation of all settings."""
    hints = get_type_hints(Settings, include_extras=True)
    return [
        Switch(
            name=_camel_case(field.name),
            values=_values_of(get_type_hints(Settings)[field.name]),
            default=field.default,
            meaning="".join(getattr(hints[field.name], "__metadata__", ())),
        )
        for field in fields(Settings)
    ]


def _values_of(kind: type) -> str:
    choices = get_args(kind)
    if choices:
        return " or ".join(choices)
    return {bool: "true or false", int: "whole number", float: "number"}[kind]


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


_FIELDS = {_camel_case(field.name): field.name for field in fields(Settings)}


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
        raise UnknownSettingError(f"{name}: a {_values_of(kind)} of zero or more")
    return number
