"""The twin as an ASGI application: İYS's paths, and the admin API under `/__simulator__/`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import Route

from iys_simulator.admin.routes import admin_routes
from iys_simulator.api import (
    add_consents,
    brands,
    daily_reports,
    history,
    partners,
    places,
    reject_links,
    retailer_access,
    retailers,
    status,
)
from iys_simulator.api.reject_links import link_routes
from iys_simulator.api.via import via_routes
from iys_simulator.faults import Operation
from iys_simulator.gateway.connection_drops import cannot_cut
from iys_simulator.gateway.gateway import Door, Dropper, Method
from iys_simulator.pages.citizen_page import citizen_routes
from iys_simulator.state import Twin

_SP = "/sps/{iysCode}"
_BRAND = _SP + "/brands/{brandCode}"
_TICK = 0.02  # seconds between looks for batches that are due


def build_app(twin: Twin, drop: Dropper = cannot_cut) -> Starlette:
    """Give the application around `twin`; `drop` loses connections where weather asks for it."""
    door = Door(twin, drop)
    guarded: list[tuple[str, str, Operation, Method]] = [
        ("GET", _SP + "/brands", Operation.BRANDS, brands.brands),
        ("GET", _SP + "/subscription", Operation.SUBSCRIPTION, brands.subscription),
        ("POST", _BRAND + "/consents", Operation.ADD, add_consents.add),
        ("POST", "/v2" + _BRAND + "/consents", Operation.ADD_V2, add_consents.add_v2),
        ("POST", _BRAND + "/consents/request", Operation.BATCH, add_consents.add_batch),
        (
            "POST",
            "/v2" + _BRAND + "/consents/request",
            Operation.BATCH_V2,
            add_consents.add_batch_v2,
        ),
        ("GET", _BRAND + "/consents/request/{requestId}", Operation.RESULT, status.result),
        (
            "GET",
            "/v2" + _BRAND + "/consents/request/{requestId}",
            Operation.RESULT_V2,
            status.result_v2,
        ),
        ("POST", _BRAND + "/consents/status", Operation.STATUS, status.status),
        (
            "POST",
            _BRAND + "/consents/{recipientType}/status/{type}",
            Operation.STATUSES,
            status.statuses,
        ),
        ("GET", _BRAND + "/consents/changes", Operation.CHANGES, status.changes),
        ("POST", _BRAND + "/push/registration", Operation.PUSH_REGISTER, brands.register_push),
        ("GET", _BRAND + "/push/registration", Operation.PUSH_LIST, brands.list_push),
        (
            "POST",
            _BRAND + "/push/unregistration",
            Operation.PUSH_UNREGISTER,
            brands.unregister_push,
        ),
    ]
    guarded += _around_consents()
    routes = [Route("/oauth2/token", door.open(Operation.TOKEN, brands.token), methods=["POST"])]
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
        ("POST", access, Operation.ACCESS_ADD, retailer_access.add_access),
        ("PUT", access, Operation.ACCESS_REPLACE, retailer_access.replace_access),
        # Older pages have the plural here too.
        (
            "POST",
            access + "/list",
            Operation.ACCESS_LIST,
            retailer_access.list_access,
        ),
        ("POST", listed, Operation.ACCESS_LIST, retailer_access.list_access),
        ("POST", access + "/remove", Operation.ACCESS_REMOVE, retailer_access.remove_access),
        (
            "POST",
            access + "/remove/all",
            Operation.ACCESS_REMOVE_ALL,
            retailer_access.remove_all_access,
        ),
        (
            "GET",
            day + "/recipients/{recipientType}",
            Operation.DAY_STATISTICS,
            daily_reports.day_statistics,
        ),
        ("GET", day + "/file", Operation.DAY_FILE, daily_reports.day_file),
        ("GET", agreement, Operation.AGREEMENT, daily_reports.agreement),
        ("PUT", agreement, Operation.AGREEMENT_SAVE, daily_reports.save_agreement),
        (
            "GET",
            agreement + "/timestamp",
            Operation.AGREEMENT_TIMESTAMP,
            daily_reports.agreement_timestamp,
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
