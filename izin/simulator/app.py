"""The twin as an ASGI application: İYS's paths, and the admin API under `/__simulator__/`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import Route

from izin.simulator import additions, providers, queries
from izin.simulator.admin import admin_routes
from izin.simulator.door import Door, Dropper
from izin.simulator.transport import cannot_cut
from izin.simulator.twin import Twin
from izin.simulator.weather import Operation

_SP = "/sps/{iysCode}"
_BRAND = _SP + "/brands/{brandCode}"
_TICK = 0.02  # seconds between looks for batches that are due


def build_app(twin: Twin, drop: Dropper = cannot_cut) -> Starlette:
    """Give the application around `twin`; `drop` loses connections where weather asks for it."""
    door = Door(twin, drop)
    guarded = [
        ("GET", _SP + "/brands", Operation.BRANDS, providers.brands),
        ("GET", _SP + "/subscription", Operation.SUBSCRIPTION, providers.subscription),
        ("POST", _BRAND + "/consents", Operation.ADD, additions.add),
        ("POST", "/v2" + _BRAND + "/consents", Operation.ADD_V2, additions.add_v2),
        ("POST", _BRAND + "/consents/request", Operation.BATCH, additions.add_batch),
        ("POST", "/v2" + _BRAND + "/consents/request", Operation.BATCH_V2, additions.add_batch_v2),
        ("GET", _BRAND + "/consents/request/{requestId}", Operation.RESULT, queries.result),
        (
            "GET",
            "/v2" + _BRAND + "/consents/request/{requestId}",
            Operation.RESULT_V2,
            queries.result_v2,
        ),
        ("POST", _BRAND + "/consents/status", Operation.STATUS, queries.status),
        (
            "POST",
            _BRAND + "/consents/{recipientType}/status/{type}",
            Operation.STATUSES,
            queries.statuses,
        ),
        ("GET", _BRAND + "/consents/changes", Operation.CHANGES, queries.changes),
        ("POST", _BRAND + "/push/registration", Operation.PUSH_REGISTER, providers.register_push),
        ("GET", _BRAND + "/push/registration", Operation.PUSH_LIST, providers.list_push),
        (
            "POST",
            _BRAND + "/push/unregistration",
            Operation.PUSH_UNREGISTER,
            providers.unregister_push,
        ),
    ]
    routes = [Route("/oauth2/token", door.open(Operation.TOKEN, providers.token), methods=["POST"])]
    routes += [
        Route(path, door.guarded(operation, method), methods=[verb])
        for verb, path, operation, method in guarded
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        ticker = asyncio.create_task(_process_when_due(twin))
        try:
            yield
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker
            await twin.close()

    return Starlette(
        routes=[*routes, *admin_routes(twin)],
        lifespan=lifespan,
        exception_handlers={404: door.unknown, 405: door.unknown},
    )


async def _process_when_due(twin: Twin) -> None:
    # One batch a turn, so that a rejection on its way out never waits behind a heap of them.
    while True:  # noqa: ASYNC110 - the clock can be moved, so there is no instant to wait for
        await asyncio.sleep(0 if twin.process_due(most=1) else _TICK)
