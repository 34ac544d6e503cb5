"""How a call without a valid token is refused: İYS's endpoints differ.

Most respond with H351 whatever is wrong. Retailers and lists of places distinguish a missing header
(H252), empty credentials (H250) and wrong ones (H251); a subscription uses H251 beside H351, a
partner's subscription only H251.
"""

import base64
import binascii
from typing import Final

from iys_simulator.errors.responses import RefusedError, refused
from iys_simulator.faults import Operation

_RETAILERS: Final = frozenset(
    [
        Operation.RETAILER_ADD,
        Operation.RETAILER_LIST,
        Operation.RETAILER_GET,
        Operation.RETAILER_DELETE,
    ]
)
PLACE_LISTS: Final = frozenset([Operation.CITIES, Operation.CITY, Operation.TOWNS, Operation.TOWN])
_HAS_WRONG_CREDENTIALS: Final = _RETAILERS | PLACE_LISTS | {Operation.SUBSCRIPTION}

MISSPELT: Final = frozenset(
    [
        Operation.BRANDS,
        Operation.ADD,
        Operation.ADD_V2,
        Operation.BATCH,
        Operation.BATCH_V2,
        Operation.RESULT,
        Operation.RESULT_V2,
        Operation.STATUS,
        Operation.HISTORY,
        Operation.RETAILER_LIST,
        Operation.RETAILER_GET,
        Operation.RETAILER_DELETE,
        Operation.ACCESS_ADD,
        Operation.ACCESS_REPLACE,
        Operation.ACCESS_LIST,
        Operation.ACCESS_REMOVE,
        Operation.ACCESS_REMOVE_ALL,
        Operation.OPT_OUT_LINKS,
    ]
)
"""The operations whose documents show the misspelt form of H353."""


def authentication_error(operation: Operation, authorization: str | None) -> RefusedError:
    """Return the refusal of `operation` where the header `authorization` has no valid token."""
    if operation is Operation.PARTNER_SUBSCRIPTION:
        return refused("H251")
    if operation in _RETAILERS | PLACE_LISTS:
        if not authorization:
            return refused("H252")
        if _is_empty(authorization):
            return refused("H250")
    scheme = (authorization or "").partition(" ")[0].lower()
    if operation in _HAS_WRONG_CREDENTIALS and scheme not in ("", "bearer"):
        return refused("H251")
    return refused("H351")


def _is_empty(authorization: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return not token.strip()
    try:
        username, _, password = base64.b64decode(token, validate=True).partition(b":")
    except binascii.Error:
        return False
    return not (username and password)
