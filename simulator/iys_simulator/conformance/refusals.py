"""What every operation refuses alike: token, path, subscription, rate; and İYS's own failures.

A failure of İYS's servers cannot be provoked by a request, so the twin's weather provides it.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from iys_simulator.conformance import operations as op
from iys_simulator.conformance.case import Case, Expected, Operation, Speaker, Step
from iys_simulator.conformance.wording import (
    account,
    answers,
    asking,
    partner,
    refuses,
    stopped,
    switched,
    weather,
)

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

_RETAILERS: Final = (op.RETAILER_ADD, op.RETAILER_LIST, op.RETAILER_GET, op.RETAILER_DELETE)
_LISTS: Final = (op.CITIES, op.CITY, op.TOWNS, op.TOWN)
_PARTNERS: Final = (op.PARTNER_BRANDS, op.PARTNER_PROVIDER, op.PARTNER_SUBSCRIPTION)

FAILURES: Final[Mapping[Operation, tuple[str, ...]]] = {
    op.TOKEN: ("H015",),
    op.BRANDS: ("H015",),
    op.SUBSCRIPTION: ("H015",),
    op.PARTNER_BRANDS: ("H015", "H031", "H245", "H268", "H470"),
    op.PARTNER_PROVIDER: ("H015", "H031", "H245", "H268", "H470"),
    op.PARTNER_SUBSCRIPTION: ("H015",),
    op.ADD: ("H101", "H103", "H123", "H470", "H476"),
    op.ADD_V2: ("H101", "H103", "H123", "H470", "H476"),
    op.BATCH: ("H103", "H266", "H470"),
    op.BATCH_V2: ("H103", "H266", "H470"),
    op.RESULT: ("H103", "H192", "H470"),
    op.RESULT_V2: ("H103", "H470"),
    op.STATUS: ("H103", "H470"),
    op.STATUSES: ("H103",),
    op.HISTORY: ("H103",),
    op.CHANGES: ("H103",),
    op.PUSH_REGISTER: ("H412",),
    op.PUSH_LIST: ("H015",),
    op.PUSH_UNREGISTER: ("H191", "H412"),
    op.RETAILER_ADD: ("H001", "H015", "H018", "H060", "H062", "H067"),
    op.RETAILER_LIST: ("H470",),
    op.RETAILER_GET: ("H015",),
    op.RETAILER_DELETE: ("H001", "H018", "H103", "H180"),
    op.ACCESS_ADD: ("H101", "H103", "H470"),
    op.ACCESS_REPLACE: ("H103", "H470"),
    op.ACCESS_LIST: ("H103", "H470"),
    op.ACCESS_REMOVE: ("H001", "H018", "H058", "H103", "H470"),
    op.ACCESS_REMOVE_ALL: ("H015", "H470"),
    op.DAY_STATISTICS: ("H103",),
    op.DAY_FILE: ("H103",),
    op.AGREEMENT: ("H103",),
    op.AGREEMENT_SAVE: ("H101",),
    op.AGREEMENT_TIMESTAMP: ("H103",),
    op.REJECT_LINKS: ("H101", "H103", "H412"),
    op.CITIES: ("H082",),
    op.TOWNS: ("H082",),
}
"""Which failures an operation's description lists that no request provokes."""


def cases() -> Iterator[Case]:
    """Give the cases of every operation."""
    for operation in op.ALL:
        yield from _of_failures(operation)
        if operation is op.TOKEN:
            continue
        yield from _of_tokens(operation)
        yield from _of_paths(operation)
        yield from _of_subscriptions(operation)
        yield _of_rate(operation)


def _of_rate(operation: Operation) -> Case:
    # The first request takes the token, the other one the second's only place.
    any_request = Step(
        method="GET", path="/sps/$iysCode/brands", may_fail=True, speaker=_speaker(operation)
    )
    return _case(
        operation,
        "the second request in a second that takes one",
        refuses("H124", 429),
        given=(any_request, stopped(), switched(requestsPerSecond=1), any_request),
    )


def _of_tokens(operation: Operation) -> Iterator[Case]:
    wrong, missing = refuses("H351", 401), refuses("H351", 401)
    if operation is op.PARTNER_SUBSCRIPTION:
        wrong = missing = refuses("H251", 401)
    elif operation in (*_RETAILERS, *_LISTS):
        missing = refuses("H252", 400)
    yield _case(operation, "a token nobody gave out", wrong, speaker=Speaker.GARBAGE)
    yield _case(operation, "no token at all", missing, speaker=Speaker.NOBODY)
    if operation in (*_RETAILERS, *_LISTS, op.SUBSCRIPTION):
        basic = refuses("H251", 401)
        yield _case(operation, "credentials in place of a token", basic, speaker=Speaker.BASIC)
    if operation in (*_RETAILERS, *_LISTS):
        empty = refuses("H250", 400)
        yield _case(operation, "empty credentials", empty, speaker=Speaker.EMPTY_BASIC)


def _of_paths(operation: Operation) -> Iterator[Case]:
    another = refuses("H353", 403)
    if operation in _PARTNERS:
        code = "H522" if operation is op.PARTNER_SUBSCRIPTION else "H363"
        yield _case(
            operation, "a service provider asks", refuses(code, 400), speaker=Speaker.PROVIDER
        )
        if operation is not op.PARTNER_SUBSCRIPTION:
            yield _case(operation, "another partner", another, at={"integratorCode": _ANOTHER})
        return
    if operation.is_of_a_provider:
        yield _case(operation, "another provider", another, at={"iysCode": _ANOTHER})
        yield _case(
            operation,
            "another provider, where older methods misspell the key",
            another,
            at={"iysCode": _ANOTHER},
            given=(switched(forbiddenSpelling="code:"),),
        )
        yield _case(
            operation, "a code that is no number", refuses("H190", 422), at={"iysCode": "x"}
        )
    if operation.is_of_a_brand:
        yield _case(operation, "another brand", another, at={"brandCode": _ANOTHER})
        yield _case(
            operation, "a brand that is no number", refuses("H191", 422), at={"brandCode": "x"}
        )


def _of_subscriptions(operation: Operation) -> Iterator[Case]:
    if operation in _LISTS:
        return
    is_own_query = operation in (op.SUBSCRIPTION, op.PARTNER_SUBSCRIPTION)
    define = partner if operation in _PARTNERS else account
    unknown = refuses("H437", 404) if is_own_query else refuses("H524", 403)
    rows: tuple[tuple[str, Expected, Step], ...] = (
        ("a closed subscription", refuses("H521", 403), define(subscription="CLOSED")),
        ("no subscription", unknown, define(subscription="NONE")),
        ("a package without API", refuses("H586", 403), define(includesApi=False)),
    )
    for what, expected, step in rows:
        yield _case(operation, what, expected, given=(step,))
    for state in ("PAUSED", "EXPIRED"):
        what = f"a subscription that is {state.lower()}"
        expected = answers(200) if is_own_query else refuses("H520", 403)
        yield _case(operation, what, expected, given=(define(subscription=state),))


def _of_failures(operation: Operation) -> Iterator[Case]:
    for code in FAILURES.get(operation, ()):
        yield _case(
            operation,
            f"İYS itself fails: {code}",
            Expected(status=STATUS_OF[code], code=code),
            given=(weather(operation, code, STATUS_OF[code]),),
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


def _speaker(operation: Operation) -> Speaker:
    if operation is op.TOKEN:
        return Speaker.NOBODY
    return Speaker.PARTNER if operation in _PARTNERS else Speaker.PROVIDER


def _case(  # noqa: PLR0913 - so many parts a request has
    operation: Operation,
    what: str,
    expected: Expected,
    *,
    at: Mapping[str, object] | None = None,
    speaker: Speaker | None = None,
    given: tuple[Step, ...] = (),
) -> Case:
    usual = {**ANYTHING, **(at or {})}
    return asking(
        operation, what, expected, *given, at=usual, speaker=speaker or _speaker(operation)
    )
