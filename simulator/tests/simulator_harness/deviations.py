"""Deviations of the simulator from İYS's description, each with its reason.

A test fails where a deviation of an example or of a status is no longer needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_BRAND = "/sps/{iysCode}/brands/{brandCode}"
_ACCESS = f"{_BRAND}/consents/retailers/access"
_LISTS = ("GET /info/city", "GET /info/town")
_REMOVAL = (f"DELETE {_BRAND}/retailers/{{retailerCode}}",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deviation:
    """What examples of some operations have and no response of ours: a path and its type."""

    stranger: str
    operations: tuple[str, ...]
    reason: str


EXAMPLES = (
    Deviation(
        stranger=".errors[].value[]: text",
        operations=(
            f"POST {_BRAND}/consents/request",
            f"POST /v2{_BRAND}/consents/request",
            f"POST {_ACCESS}",
        ),
        reason="the example shortens a list and says so in words",
    ),
    Deviation(
        stranger=": number",
        operations=(f"PUT {_ACCESS}", f"POST {_ACCESS}/remove", f"POST {_ACCESS}/remove/all"),
        reason="a response without a body (202); the example has 1, the schema nothing",
    ),
    Deviation(
        stranger=".list[].mersis: number",
        operations=(f"GET {_BRAND}/retailers",),
        reason="16 digits that may begin with 0 are a text, as in the request",
    ),
    Deviation(
        stranger=".mersis: number",
        operations=(f"GET {_BRAND}/retailers/{{retailerCode}}",),
        reason="16 digits that may begin with 0 are a text, as in the request",
    ),
    Deviation(
        stranger=".code: text",
        operations=("GET /info/city/{code}",),
        reason="a province's code is a number in the list of all, and in the schema",
    ),
    Deviation(
        stranger=".errors[].value: object",
        operations=(f"POST {_BRAND}/consents/{{recipientType}}/status/{{type}}",),
        reason="the example has {} for an invalid list; the simulator echoes what was sent",
    ),
    *(
        Deviation(stranger=stranger, operations=_LISTS, reason="XML of a gateway before İYS's API")
        for stranger in (".message: text", ".status: number")
    ),
    *(
        Deviation(
            stranger=stranger,
            operations=_REMOVAL,
            reason="it names a list, which a deletion does not have",
        )
        for stranger in (
            ".errors[].location: list",
            ".errors[].location[]: number",
            ".errors[].location[]: text",
            ".errors[].value: number",
        )
    ),
    Deviation(
        stranger=".viaSubscriptionPackage.viaSubscipritionId: text",
        operations=("GET /sps/{iysCode}/subscription",),
        reason="spelt viaSubscriptionId in the other examples",
    ),
)
"""The deviations from examples."""

KEYS: Mapping[tuple[str, str], tuple[frozenset[str], str]] = {
    **dict.fromkeys(
        (
            (f"POST {_BRAND}/consents/request", "400"),
            (f"POST /v2{_BRAND}/consents/request", "400"),
        ),
        (frozenset({"index"}), "the examples of 422 have the index of an item"),
    ),
    ("GET /integrator/{integratorCode}/subscription", "200"): (
        frozenset({"subscriptionId"}),
        "the example misspells it; switch `subscriptionKey`",
    ),
    (f"GET {_BRAND}/retailers/{{retailerCode}}", "200"): (
        frozenset({"retailerCode"}),
        "as in the list of retailers",
    ),
    (f"POST {_ACCESS}/remove", "403"): (
        frozenset({"location", "value"}),
        "H180 names the retailer, as in the other endpoints",
    ),
    (f"POST {_BRAND}/via-hash-links", "422"): (
        frozenset({"recipient", "recipientType"}),
        "the error echoes the entry that was sent",
    ),
    (f"POST {_BRAND}/via-hash-links", "403"): (frozenset({"code"}), "switch `forbiddenSpelling`"),
}
"""Keys of a response that no example of its operation and status has, with the reason."""

SCHEMAS: Mapping[str, str] = {
    "422 InvalidError": "the schema has an object for `errors`, every example a list",
    "422 /properties/errors/items/properties/value": "the schema has a text; values are echoed",
    **dict.fromkeys(
        (
            f"200 Code-Name/properties/code of GET {_BRAND}/retailers",
            f"200 Code-Name/properties/code of GET {_BRAND}/retailers/{{retailerCode}}",
        ),
        "a retailer's city as it was sent, and as the example has it: a text",
    ),
    "200 RetailerSearchList": "the schema has an object for `list`, every example a list",
    "200 GET /sps/{iysCode}/brands": "the schema is one brand, the example a list of them",
    "200 GET /sps/{iysCode}/subscription": "the schema spells the id otherwise than every example",
}
"""Schemas that İYS's own examples break: status, then the schema's name or its operation."""

EMPTY: Mapping[int, str] = {
    202: "accepted, with an empty schema",
    204: "no content, although the description has a content type",
}
"""Statuses without a body for which the description has a content type."""

STATUSES: Mapping[str, str] = {
    "400 PUT .../{reportDate}": "H014, as in every endpoint with a body: it is no JSON",
    "400 POST .../unregistration": "H014, as at the registration: a body that is no JSON",
    "204 GET .../timestamp": "a day without movements has no file, so no timestamp either",
    "403 GET /integrator/{integratorCode}/subscription": "H520, H521 and H586 apply here too",
    "422": "a code in the path that is not a number (H190, H191), in any path",
    "429": "the rate limit applies to all endpoints, by the description's introduction",
    "503": "H192 is in its table of codes, and may come from any endpoint",
}
"""Statuses that an operation's description does not list: status, then which operations."""


def deviation_of_status(operation: str, status: int) -> str | None:
    """Return the entry of `STATUSES` that allows `operation` to have `status`."""
    method, _, path = operation.partition(" ")
    last = f"{method} .../{path.rpartition('/')[2]}"
    names = (f"{status}", f"{status} {operation}", f"{status} {last}")
    return next((name for name in names if name in STATUSES), None)
