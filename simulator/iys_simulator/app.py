"""The simulator as an ASGI application: İYS's API, pages for people, and the admin API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette

from iys_simulator.admin.routes import admin_routes
from iys_simulator.api.routes import api_routes
from iys_simulator.gateway.connection_drops import raise_dropped
from iys_simulator.gateway.gateway import DropConnection, Gateway
from iys_simulator.pages.citizen_page import citizen_routes
from iys_simulator.pages.opt_out_page import opt_out_routes
from iys_simulator.state import SimulatorState

_TICK = 0.02  # seconds between checks for batches that are due


def build_app(state: SimulatorState, drop: DropConnection = raise_dropped) -> Starlette:
    """Return the application around `state`; `drop` drops connections where a fault asks for it."""
    gateway = Gateway(state, drop)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        ticker = asyncio.create_task(_process_when_due(state))
        try:
            yield
        finally:
            ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticker
            await state.close()

    app = Starlette(
        routes=[
            *api_routes(gateway),
            *opt_out_routes(state),
            *citizen_routes(state),
            *admin_routes(state),
        ],
        lifespan=lifespan,
        exception_handlers={404: gateway.unknown, 405: gateway.unknown},
    )
    # İYS documents no redirect, and Starlette's would lead a client behind TLS to http.
    app.router.redirect_slashes = False
    return app


async def _process_when_due(state: SimulatorState) -> None:
    # One batch a turn, so that a push delivery never waits behind many of them.
    while True:  # noqa: ASYNC110 - the clock can be moved, so there is no instant to wait for
        await asyncio.sleep(0 if state.process_due(limit=1) else _TICK)
