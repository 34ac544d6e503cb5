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
class Quirk:
    """What examples of some operations have and no answer of ours: a path and its kind."""

    stranger: str
    operations: tuple[str, ...]
    why: str


EXAMPLES = (
    Quirk(
        stranger=".errors[].value[]: text",
        operations=(
            f"POST {_BRAND}/consents/request",
            f"POST /v2{_BRAND}/consents/request",
            f"POST {_ACCESS}",
        ),
        why="the example cuts a list short and says so in words",
    ),
    Quirk(
        stranger=": number",
        operations=(f"PUT {_ACCESS}", f"POST {_ACCESS}/remove", f"POST {_ACCESS}/remove/all"),
        why="an answer without a body (202); the example writes 1, the schema nothing",
    ),
    Quirk(
        stranger=".list[].mersis: number",
        operations=(f"GET {_BRAND}/retailers",),
        why="16 digits that may begin with 0 are a text, as in the request",
    ),
    Quirk(
        stranger=".mersis: number",
        operations=(f"GET {_BRAND}/retailers/{{retailerCode}}",),
        why="16 digits that may begin with 0 are a text, as in the request",
    ),
    Quirk(
        stranger=".code: text",
        operations=("GET /info/city/{code}",),
        why="a province's code is a number in the list of all, and in the schema",
    ),
    Quirk(
        stranger=".errors[].value: object",
        operations=(f"POST {_BRAND}/consents/{{recipientType}}/status/{{type}}",),
        why="the example has {} for a list that is none; ours echoes what was sent",
    ),
    *(
        Quirk(stranger=stranger, operations=_LISTS, why="XML of a gateway before İYS's API")
        for stranger in (".message: text", ".status: number")
    ),
    *(
        Quirk(stranger=stranger, operations=_REMOVAL, why="it names a list no deletion has")
        for stranger in (
            ".errors[].location: list",
            ".errors[].location[]: number",
            ".errors[].location[]: text",
            ".errors[].value: number",
        )
    ),
    Quirk(
        stranger=".viaSubscriptionPackage.viaSubscipritionId: text",
        operations=("GET /sps/{iysCode}/subscription",),
        why="spelt viaSubscriptionId in the other examples",
    ),
)
"""The table of quirks of examples."""

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
"""Schemas that İYS's own examples do not keep: status, then the schema's name or whose it is."""

EMPTY: Mapping[int, str] = {
    202: "taken in, and nothing to tell: the schema is empty",
    204: "no content, though a content type stands beside it",
}
"""Statuses answered without a body where the description names a content type."""

STATUSES: Mapping[str, str] = {
    "400 PUT .../{reportDate}": "H014, as of every method with a body: it is no JSON",
    "400 POST .../unregistration": "H014, as at the registration: a body that is no JSON",
    "204 GET .../timestamp": "a day without movements has no file, so no timestamp either",
    "403 GET /integrator/{integratorCode}/subscription": "H520, H521 and H586 hold here too",
    "422": "a code in the path that is no number (H190, H191), wherever a path has one",
    "429": "the limits of requests hold over all methods, by the description's introduction",
    "503": "H192 is in its table of codes, and may come from any method",
}
"""Statuses that an operation's description does not list: status, then which operations."""


def quirk_of_status(operation: str, status: int) -> str | None:
    """Give the entry of `STATUSES` that lets `operation` answer `status`."""
    method, _, path = operation.partition(" ")
    last = f"{method} .../{path.rpartition('/')[2]}"
    names = (f"{status}", f"{status} {operation}", f"{status} {last}")
    return next((name for name in names if name in STATUSES), None)
