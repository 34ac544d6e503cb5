"""The twin as an ASGI application: İYS's paths, and the admin API under `/__simulator__/`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import Route

from izin.simulator import (
    access_methods,
    additions,
    history,
    partners,
    places,
    providers,
    queries,
    reconciliation,
    reject_links,
)
from izin.simulator import retailer_methods as retailers
from izin.simulator.citizen_page import citizen_routes
from izin.simulator.gateway.connection_drops import cannot_cut
from izin.simulator.gateway.gateway import Door, Dropper, Method
from izin.simulator.reject_links import link_routes
from izin.simulator.twin import Twin
from izin.simulator.via import via_routes
from izin.simulator.weather import Operation
from izin.simulator.zadmin import admin_routes

_SP = "/sps/{iysCode}"
_BRAND = _SP + "/brands/{brandCode}"
_TICK = 0.02  # seconds between looks for batches that are due


def build_app(twin: Twin, drop: Dropper = cannot_cut) -> Starlette:
    """Give the application around `twin`; `drop` loses connections where weather asks for it."""
    door = Door(twin, drop)
    guarded: list[tuple[str, str, Operation, Method]] = [
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
    guarded += _around_consents()
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

    routes += [*via_routes(door), *link_routes(twin), *citizen_routes(twin)]
    return Starlette(
        routes=[*routes, *admin_routes(twin)],
        lifespan=lifespan,
        exception_handlers={404: door.unknown, 405: door.unknown},
    )


def _around_consents() -> list[tuple[str, str, Operation, Method]]:
    access = _BRAND + "/consents/retailers/access"
    agreement = _BRAND + "/agreements/{reportDate}"
    day = _BRAND + "/changes/{reportDate}"
    retailer = _BRAND + "/retailers/{retailerCode}"
    partner = "/integrator/{integratorCode}"
    listed = _BRAND + "/consent/retailers/access/list"
    return [
        ("POST", _BRAND + "/consents/history", Operation.HISTORY, history.history),
        ("POST", _BRAND + "/retailers", Operation.RETAILER_ADD, retailers.add_retailer),
        ("GET", _BRAND + "/retailers", Operation.RETAILER_LIST, retailers.list_retailers),
        ("GET", retailer, Operation.RETAILER_GET, retailers.show_retailer),
        ("DELETE", retailer, Operation.RETAILER_DELETE, retailers.delete_retailer),
        ("POST", access, Operation.ACCESS_ADD, access_methods.add_access),
        ("PUT", access, Operation.ACCESS_REPLACE, access_methods.replace_access),
        # Older pages have the plural here too.
        (
            "POST",
            access + "/list",
            Operation.ACCESS_LIST,
            access_methods.list_access,
        ),
        ("POST", listed, Operation.ACCESS_LIST, access_methods.list_access),
        ("POST", access + "/remove", Operation.ACCESS_REMOVE, access_methods.remove_access),
        (
            "POST",
            access + "/remove/all",
            Operation.ACCESS_REMOVE_ALL,
            access_methods.remove_all_access,
        ),
        (
            "GET",
            day + "/recipients/{recipientType}",
            Operation.DAY_STATISTICS,
            reconciliation.day_statistics,
        ),
        ("GET", day + "/file", Operation.DAY_FILE, reconciliation.day_file),
        ("GET", agreement, Operation.AGREEMENT, reconciliation.agreement),
        ("PUT", agreement, Operation.AGREEMENT_SAVE, reconciliation.save_agreement),
        (
            "GET",
            agreement + "/timestamp",
            Operation.AGREEMENT_TIMESTAMP,
            reconciliation.agreement_timestamp,
        ),
        ("GET", partner + "/sps", Operation.PARTNER_BRANDS, partners.list_granted),
        ("GET", partner + "/sps/{iysCode}", Operation.PARTNER_PROVIDER, partners.list_granted_by),
        (
            "GET",
            partner + "/subscription",
            Operation.PARTNER_SUBSCRIPTION,
            partners.subscription,
        ),
        ("GET", "/info/city", Operation.CITIES, places.cities),
        ("GET", "/info/city/{code}", Operation.CITY, places.city),
        ("GET", "/info/town", Operation.TOWNS, places.towns),
        ("GET", "/info/town/{code}", Operation.TOWN, places.town),
        ("POST", _BRAND + "/via-hash-links", Operation.REJECT_LINKS, reject_links.make_links),
    ]


async def _process_when_due(twin: Twin) -> None:
    # One batch a turn, so that a rejection on its way out never waits behind a heap of them.
    while True:  # noqa: ASYNC110 - the clock can be moved, so there is no instant to wait for
        await asyncio.sleep(0 if twin.process_due(most=1) else _TICK)
