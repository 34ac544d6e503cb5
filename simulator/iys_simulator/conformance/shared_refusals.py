"""Refusals that all endpoints share (token, path, subscription, rate), and failures of İYS.

No request can cause a failure of İYS's servers, so the simulator's fault injection does.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from iys_simulator.conformance import endpoints as ep
from iys_simulator.conformance.builders import (
    change_settings,
    define_account,
    define_partner,
    inject_fault,
    refusal,
    request_case,
    stop_clock,
    success,
)
from iys_simulator.conformance.case import Caller, Case, Endpoint, Expected, Step

ANYTHING: Final = {
    "requestId": "5a2edd8e-dd6e-4293-b09b-6180b2c5d021",
    "recipientType": "BIREYSEL",
    "type": "MESAJ",
    "retailerCode": "$retailer",
    "reportDate": "$today",
    "code": "34",
}
"""Values for the other parameters of a path, where they do not matter."""

_ANOTHER: Final = 999_999_999

_RETAILERS: Final = (ep.RETAILER_ADD, ep.RETAILER_LIST, ep.RETAILER_GET, ep.RETAILER_DELETE)
_LISTS: Final = (ep.CITIES, ep.CITY, ep.TOWNS, ep.TOWN)
_PARTNERS: Final = (ep.PARTNER_BRANDS, ep.PARTNER_PROVIDER, ep.PARTNER_SUBSCRIPTION)

FAILURES: Final[Mapping[Endpoint, tuple[str, ...]]] = {
    ep.TOKEN: ("H015",),
    ep.BRANDS: ("H015",),
    ep.SUBSCRIPTION: ("H015",),
    ep.PARTNER_BRANDS: ("H015", "H031", "H245", "H268", "H470"),
    ep.PARTNER_PROVIDER: ("H015", "H031", "H245", "H268", "H470"),
    ep.PARTNER_SUBSCRIPTION: ("H015",),
    ep.ADD: ("H101", "H103", "H123", "H470", "H476"),
    ep.ADD_V2: ("H101", "H103", "H123", "H470", "H476"),
    ep.BATCH: ("H103", "H266", "H470"),
    ep.BATCH_V2: ("H103", "H266", "H470"),
    ep.RESULT: ("H103", "H192", "H470"),
    ep.RESULT_V2: ("H103", "H470"),
    ep.STATUS: ("H103", "H470"),
    ep.STATUSES: ("H103",),
    ep.HISTORY: ("H103",),
    ep.CHANGES: ("H103",),
    ep.PUSH_REGISTER: ("H412",),
    ep.PUSH_LIST: ("H015",),
    ep.PUSH_UNREGISTER: ("H191", "H412"),
    ep.RETAILER_ADD: ("H001", "H015", "H018", "H060", "H062", "H067"),
    ep.RETAILER_LIST: ("H470",),
    ep.RETAILER_GET: ("H015",),
    ep.RETAILER_DELETE: ("H001", "H018", "H103", "H180"),
    ep.ACCESS_ADD: ("H101", "H103", "H470"),
    ep.ACCESS_REPLACE: ("H103", "H470"),
    ep.ACCESS_LIST: ("H103", "H470"),
    ep.ACCESS_REMOVE: ("H001", "H018", "H058", "H103", "H470"),
    ep.ACCESS_REMOVE_ALL: ("H015", "H470"),
    ep.DAY_STATISTICS: ("H103",),
    ep.DAY_FILE: ("H103",),
    ep.AGREEMENT: ("H103",),
    ep.AGREEMENT_SAVE: ("H101",),
    ep.AGREEMENT_TIMESTAMP: ("H103",),
    ep.OPT_OUT_LINKS: ("H101", "H103", "H412"),
    ep.CITIES: ("H082",),
    ep.TOWNS: ("H082",),
}
"""The failures in an endpoint's description that no request can cause."""


def cases() -> Iterator[Case]:
    """Yield the cases of every endpoint."""
    for endpoint in ep.ALL:
        yield from _of_failures(endpoint)
        if endpoint is ep.TOKEN:
            continue
        yield from _of_tokens(endpoint)
        yield from _of_paths(endpoint)
        yield from _of_subscriptions(endpoint)
        yield _of_rate(endpoint)


def _of_rate(endpoint: Endpoint) -> Case:
    # The first request gets the token, the second one uses up the limit of the second.
    any_request = Step(
        method="GET", path="/sps/$iysCode/brands", may_fail=True, caller=_caller(endpoint)
    )
    return _case(
        endpoint,
        "second request with a limit of one per second",
        refusal("H124", 429),
        setup=(any_request, stop_clock(), change_settings(requestsPerSecond=1), any_request),
    )


def _of_tokens(endpoint: Endpoint) -> Iterator[Case]:
    wrong, missing = refusal("H351", 401), refusal("H351", 401)
    if endpoint is ep.PARTNER_SUBSCRIPTION:
        wrong = missing = refusal("H251", 401)
    elif endpoint in (*_RETAILERS, *_LISTS):
        missing = refusal("H252", 400)
    yield _case(endpoint, "token that was never issued", wrong, caller=Caller.GARBAGE)
    yield _case(endpoint, "no token", missing, caller=Caller.NOBODY)
    if endpoint in (*_RETAILERS, *_LISTS, ep.SUBSCRIPTION):
        basic = refusal("H251", 401)
        yield _case(endpoint, "credentials in place of a token", basic, caller=Caller.BASIC)
    if endpoint in (*_RETAILERS, *_LISTS):
        empty = refusal("H250", 400)
        yield _case(endpoint, "empty credentials", empty, caller=Caller.EMPTY_BASIC)


def _of_paths(endpoint: Endpoint) -> Iterator[Case]:
    another = refusal("H353", 403)
    if endpoint in _PARTNERS:
        code = "H522" if endpoint is ep.PARTNER_SUBSCRIPTION else "H363"
        yield _case(endpoint, "a service provider asks", refusal(code, 400), caller=Caller.PROVIDER)
        if endpoint is not ep.PARTNER_SUBSCRIPTION:
            yield _case(
                endpoint, "another partner", another, path_params={"integratorCode": _ANOTHER}
            )
        return
    if endpoint.has_provider:
        yield _case(endpoint, "another provider", another, path_params={"iysCode": _ANOTHER})
        yield _case(
            endpoint,
            "another provider, where older methods misspell the key",
            another,
            path_params={"iysCode": _ANOTHER},
            setup=(change_settings(forbiddenSpelling="code:"),),
        )
        yield _case(
            endpoint,
            "code that is not a number",
            refusal("H190", 422),
            path_params={"iysCode": "x"},
        )
    if endpoint.has_brand:
        yield _case(endpoint, "another brand", another, path_params={"brandCode": _ANOTHER})
        yield _case(
            endpoint,
            "brand code that is not a number",
            refusal("H191", 422),
            path_params={"brandCode": "x"},
        )


def _of_subscriptions(endpoint: Endpoint) -> Iterator[Case]:
    if endpoint in _LISTS:
        return
    is_own_query = endpoint in (ep.SUBSCRIPTION, ep.PARTNER_SUBSCRIPTION)
    define = define_partner if endpoint in _PARTNERS else define_account
    unknown = refusal("H437", 404) if is_own_query else refusal("H524", 403)
    rows: tuple[tuple[str, Expected, Step], ...] = (
        ("a closed subscription", refusal("H521", 403), define(subscription="CLOSED")),
        ("no subscription", unknown, define(subscription="NONE")),
        ("a package without API", refusal("H586", 403), define(includesApi=False)),
    )
    for title, expected, step in rows:
        yield _case(endpoint, title, expected, setup=(step,))
    for state in ("PAUSED", "EXPIRED"):
        title = f"a subscription that is {state.lower()}"
        expected = success(200) if is_own_query else refusal("H520", 403)
        yield _case(endpoint, title, expected, setup=(define(subscription=state),))


def _of_failures(endpoint: Endpoint) -> Iterator[Case]:
    for code in FAILURES.get(endpoint, ()):
        yield _case(
            endpoint,
            f"İYS itself fails: {code}",
            Expected(status=STATUS_OF[code], code=code),
            setup=(inject_fault(endpoint, code, STATUS_OF[code]),),
        )


STATUS_OF: Final[Mapping[str, int]] = {
    **dict.fromkeys(("H001", "H018", "H031", "H058"), 404),
    **dict.fromkeys(("H067", "H082", "H123", "H266"), 400),
    **dict.fromkeys(("H015", "H060", "H062", "H101", "H103", "H245", "H268"), 500),
    **dict.fromkeys(("H412", "H470", "H476"), 500),
    "H180": 403,
    "H191": 422,
    "H192": 503,
}
"""The HTTP status of a failure."""


def _caller(endpoint: Endpoint) -> Caller:
    if endpoint is ep.TOKEN:
        return Caller.NOBODY
    return Caller.PARTNER if endpoint in _PARTNERS else Caller.PROVIDER


def _case(  # noqa: PLR0913 - the parts of a request
    endpoint: Endpoint,
    title: str,
    expected: Expected,
    *,
    path_params: Mapping[str, object] | None = None,
    caller: Caller | None = None,
    setup: tuple[Step, ...] = (),
) -> Case:
    usual = {**ANYTHING, **(path_params or {})}
    return request_case(
        endpoint, title, expected, *setup, path_params=usual, caller=caller or _caller(endpoint)
    )
