"""A call that the gateway admitted, as the endpoints receive it."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

from iys_simulator.errors.responses import refused
from iys_simulator.gateway.permissions import check_rights
from iys_simulator.settings import Settings
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account, Brand


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call with its body as sent, its client address, and the account and brand it is for."""

    request: Request
    body: bytes
    client: str
    account: Account
    brand: Brand
    settings: Settings

    def check_rights(self, channels: Iterable[object], *, to_write: bool) -> None:
        """Raise H353 where the account lacks a right for one of `channels`.

        Raises:
            RefusedError: H353.
        """
        field = self.settings.missing_right
        check_rights(self.brand, channels, to_write=to_write, field=field)

    def json(self, refusal: str | None = None) -> object:
        """Return the body as JSON.

        Raises:
            RefusedError: H014, where it is no JSON, with the message `refusal` if there is one.
        """
        return parse_json(self.body, refusal)


Handler = Callable[[SimulatorState, Call], Awaitable[Response]]
"""An endpoint that needs a valid token."""

OpenHandler = Callable[[SimulatorState, Request, bytes], Awaitable[Response]]
"""An endpoint that anybody may call."""


def client_of(request: Request) -> str:
    """Return the client's address, which all limits count by."""
    return request.client.host if request.client else "unknown"


def parse_json(body: bytes, refusal: str | None = None) -> object:
    """Return `body` as JSON.

    Raises:
        RefusedError: H014, where it is no JSON, with the message `refusal` if there is one.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        raise refused("H014", message=refusal) from None
