"""What can be chosen about the twin. Defaults are İYS's own, as far as its documents tell.

A switch exists where İYS's documents contradict themselves or one another, or where it is not known
how the service behaves; the comment at each says which.
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args, get_type_hints


class UnknownSettingError(ValueError):
    """A setting that does not exist, or a value it cannot take. The message names the setting."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All switches. Durations are seconds, sizes are counts."""

    result_delay: float = 300.0  # after which a batch is processed and its results are there
    enqueue_share: float = 0.5  # share of the delay after which `[]` becomes `enqueue`
    result_days: int = 60  # requestIds older than this answer `[]`
    hidden_window: float = 3600.0  # pull hides the latest movements for so long
    pull_window: float = 7 * 86400.0  # pull shows no movement older than this
    requests_per_second: int = 10  # H124, per client address over all methods; 0: no limit
    request_window: Literal["fixed", "sliding"] = "fixed"
    status_limit: int = 1000  # H086, single status queries an hour and client address; 0: no limit
    history_limit: int = 100  # H089, history queries an hour and client address; 0: no limit
    token_limit: int = 10  # H084, an hour and client address (other page: 100); 0: no limit
    hour: float = 3600.0  # how long the hour of H084, H086 and H089 is
    request_jitter: float = 0.0  # a request arrives up to so much later (İYS's network: 0.08)
    quality_requests: int = 20_000  # in 24 h, from which the success rate counts; 0: never
    quality_rate: float = 0.7  # below it a client gets notice
    quality_grace: float = 96 * 3600.0  # from notice until it is off the whitelist
    removed_client: Literal["drop", "forbidden"] = "drop"  # how it fares then (not documented)
    h084_shape: Literal["errors", "flat"] = "errors"  # body of H084; a client reads it flat
    access_token_lifetime: float = 7200.0
    refresh_token_lifetime: float = 14400.0
    batch_size: int = 1000  # H091
    recipients_size: int = 1000  # H127 for multiple status
    late_mode: Literal["end_of_day", "sliding"] = "end_of_day"  # H467, see business_days
    unknown_status: Literal["empty", "not_found"] = "empty"  # single status of an unknown address
    forbidden_spelling: Literal["code", "code:"] = "code"  # key of H353 in the older methods
    request_id_format: Literal["uuid", "hex"] = "uuid"  # documented; seen in production: hex
    batch_status: Literal["202", "200"] = "202"  # of an accepted batch; an older page: 200
    sub_request_spelling: Literal["mixed", "subRequestId", "subrequestId"] = (
        "mixed"  # examples: `subrequestId` while an item waits; the schema: always
    )
    result_index: Literal["from_0", "from_1"] = "from_0"  # an older page counts from 1
    v2_flag: Literal["text", "boolean"] = "text"  # isAddConsentV2Service: example, schema
    v2_memory: float = 0.0  # how long V2 single adds are known again; 0: for ever (not documented)
    environment: Literal["prod", "sandbox"] = "prod"  # a sandbox has no lists of partners (H363)
    paging_codes: Literal["examples", "table"] = "examples"  # which of H182, H183 is the limit's
    subscription_key: Literal["subscriptionId", "subscipritionId", "subsciprtionId"] = (
        "subscriptionId"  # all three stand in İYS's documents
    )
    town_key: Literal["city_code", "cityCode"] = "city_code"  # example against schema
    agreement_key: Literal["agreementCaptured", "aggrementCaptured"] = (
        "agreementCaptured"  # example against schema
    )
    report_delay: float = 0.0  # after midnight until a day's file is there (not documented)
    csv_header: bool = True  # whether a day's file, and its hash, begin with the column names
    push_https_required: bool = True  # H531
    push_verify_tls: bool = True
    push_timeout: float = 5.0
    push_connections: int = 2  # active connections per type
    push_size: int = 100  # movements in one delivery at most
    push_retries: int = 3  # further attempts after a failed delivery, then it is given up
    push_backoff: float = 1.0  # before the first retry; doubles each time

    def changed(self, values: dict[str, object]) -> Self:
        """Give these settings with `values` (by name) changed; `UnknownSettingError` if wrong."""
        hints = get_type_hints(type(self))
        accepted: dict[str, Any] = {}
        for name, value in values.items():
            if name not in hints:
                raise UnknownSettingError(f"{name}: no such setting")
            accepted[name] = _accepted(name, hints[name], value)
        return replace(self, **accepted)

    def as_dict(self) -> dict[str, object]:
        """All settings by field name."""
        return asdict(self)


def setting_names() -> list[str]:
    """Give the names of all settings."""
    return [field.name for field in fields(Settings)]


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
    if number is None or number < 0 or (kind is int and not isinstance(number, int)):
        raise UnknownSettingError(f"{name}: a number of zero or more ({kind.__name__})")
    return number
