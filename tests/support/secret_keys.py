"""Keys under which the tests encrypt secrets of the ledger; obviously fake."""

import base64
import json
from collections.abc import Sequence

from pydantic import SecretStr

from izin.ledger.record import SecretKeys


def a_key(number: int) -> str:
    """Return a key of ``IZIN_SECRET_KEYS``; each number has another."""
    return base64.b64encode(bytes([number]) * 32).decode()


def key_setting(*numbers: int) -> str:
    """Return the setting of these keys, the first of which encrypts."""
    return json.dumps([a_key(one) for one in numbers])


def secrets_of(numbers: Sequence[int]) -> tuple[SecretStr, ...]:
    """Return these keys as settings have them."""
    return tuple(SecretStr(a_key(one)) for one in numbers)


def some_keys(*numbers: int) -> SecretKeys:
    """Return these keys; none: an installation without any."""
    return SecretKeys(secrets_of(numbers))


def id_of(number: int) -> str:
    """Return the id of a key."""
    return some_keys(number).ids[0]
