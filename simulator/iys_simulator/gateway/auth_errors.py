"""How a call that shows no valid token is refused: the methods of İYS do not agree.

Most answer H351 whatever is wrong. Retailer and list methods tell a missing header (H252) and empty
credentials (H250) from wrong ones (H251); a subscription knows H251 beside H351, a partner's
subscription only H251.
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
LISTS: Final = frozenset([Operation.CITIES, Operation.CITY, Operation.TOWNS, Operation.TOWN])
_KNOWS_WRONG: Final = _RETAILERS | LISTS | {Operation.SUBSCRIPTION}

# The methods whose documents show the misspelt form of H353.
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
        Operation.REJECT_LINKS,
    ]
)


def no_account(operation: Operation, authorization: str | None) -> RefusedError:
    """Give the refusal of `operation` where `authorization` (the header) speaks for nobody."""
    if operation is Operation.PARTNER_SUBSCRIPTION:
        return refused("H251")
    if operation in _RETAILERS | LISTS:
        if not authorization:
            return refused("H252")
        if _is_empty(authorization):
            return refused("H250")
    scheme = (authorization or "").partition(" ")[0].lower()
    if operation in _KNOWS_WRONG and scheme not in ("", "bearer"):
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
