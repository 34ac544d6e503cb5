"""The paths of İYS's API: which endpoint each method and path leads to."""

from collections.abc import Iterator
from typing import NamedTuple

from starlette.routing import Route

from iys_simulator.api import (
    access_token,
    add_consents,
    batch_responses,
    brands,
    history,
    not_simulated,
    opt_out_links,
    partners,
    places,
    pull,
    push_registration,
    retailer_access,
    retailers,
    status,
    via,
)
from iys_simulator.api.reports import endpoints as reports
from iys_simulator.faults import Operation
from iys_simulator.gateway.call import Handler
from iys_simulator.gateway.gateway import Gateway

_PROVIDER = "/sps/{iysCode}"
_BRAND = f"{_PROVIDER}/brands/{{brandCode}}"
_CONSENTS = f"{_BRAND}/consents"
_RESULTS = f"{_CONSENTS}/request/{{requestId}}"
_PUSH = f"{_BRAND}/push"
_RETAILER = f"{_BRAND}/retailers/{{retailerCode}}"
_ACCESS = f"{_CONSENTS}/retailers/access"
_DAY = f"{_BRAND}/changes/{{reportDate}}"
_AGREEMENT = f"{_BRAND}/agreements/{{reportDate}}"
_PARTNER = "/integrator/{integratorCode}"


class _Endpoint(NamedTuple):
    method: str
    path: str
    operation: Operation
    handler: Handler


_ADD = (
    _Endpoint("POST", _CONSENTS, Operation.ADD, add_consents.add_consent),
    _Endpoint("POST", f"/v2{_CONSENTS}", Operation.ADD_V2, add_consents.add_consent_v2),
    _Endpoint("POST", f"{_CONSENTS}/request", Operation.BATCH, add_consents.add_batch),
    _Endpoint("POST", f"/v2{_CONSENTS}/request", Operation.BATCH_V2, add_consents.add_batch_v2),
    _Endpoint("GET", _RESULTS, Operation.RESULT, batch_responses.show_results),
    _Endpoint("GET", f"/v2{_RESULTS}", Operation.RESULT_V2, batch_responses.show_results_v2),
)
_QUERIES = (
    _Endpoint("POST", f"{_CONSENTS}/status", Operation.STATUS, status.show_status),
    _Endpoint(
        "POST",
        f"{_CONSENTS}/{{recipientType}}/status/{{type}}",
        Operation.STATUSES,
        status.list_opted_in,
    ),
    _Endpoint("GET", f"{_CONSENTS}/changes", Operation.CHANGES, pull.list_changes),
    _Endpoint("POST", f"{_CONSENTS}/history", Operation.HISTORY, history.list_history),
)
_PROVIDERS = (
    _Endpoint("GET", f"{_PROVIDER}/brands", Operation.BRANDS, brands.list_brands),
    _Endpoint("GET", f"{_PROVIDER}/subscription", Operation.SUBSCRIPTION, brands.show_subscription),
    _Endpoint("GET", f"{_PARTNER}/sps", Operation.PARTNER_BRANDS, partners.list_granted),
    _Endpoint(
        "GET", f"{_PARTNER}/sps/{{iysCode}}", Operation.PARTNER_PROVIDER, partners.list_granted_by
    ),
    _Endpoint(
        "GET",
        f"{_PARTNER}/subscription",
        Operation.PARTNER_SUBSCRIPTION,
        partners.show_partner_subscription,
    ),
)
_PUSHES = (
    _Endpoint(
        "POST", f"{_PUSH}/registration", Operation.PUSH_REGISTER, push_registration.register_push
    ),
    _Endpoint("GET", f"{_PUSH}/registration", Operation.PUSH_LIST, push_registration.list_push),
    _Endpoint(
        "POST",
        f"{_PUSH}/unregistration",
        Operation.PUSH_UNREGISTER,
        push_registration.unregister_push,
    ),
)
_RETAILERS = (
    _Endpoint("POST", f"{_BRAND}/retailers", Operation.RETAILER_ADD, retailers.add_retailer),
    _Endpoint("GET", f"{_BRAND}/retailers", Operation.RETAILER_LIST, retailers.list_retailers),
    _Endpoint("GET", _RETAILER, Operation.RETAILER_GET, retailers.show_retailer),
    _Endpoint("DELETE", _RETAILER, Operation.RETAILER_DELETE, retailers.delete_retailer),
    _Endpoint("POST", _ACCESS, Operation.ACCESS_ADD, retailer_access.add_access),
    _Endpoint("PUT", _ACCESS, Operation.ACCESS_REPLACE, retailer_access.replace_access),
    # Older pages have the plural here too.
    _Endpoint("POST", f"{_ACCESS}/list", Operation.ACCESS_LIST, retailer_access.list_access),
    _Endpoint(
        "POST",
        f"{_BRAND}/consent/retailers/access/list",
        Operation.ACCESS_LIST,
        retailer_access.list_access,
    ),
    _Endpoint("POST", f"{_ACCESS}/remove", Operation.ACCESS_REMOVE, retailer_access.remove_access),
    _Endpoint(
        "POST",
        f"{_ACCESS}/remove/all",
        Operation.ACCESS_REMOVE_ALL,
        retailer_access.remove_all_access,
    ),
)
_REPORTS = (
    _Endpoint(
        "GET",
        f"{_DAY}/recipients/{{recipientType}}",
        Operation.DAY_STATISTICS,
        reports.show_statistics,
    ),
    _Endpoint("GET", f"{_DAY}/file", Operation.DAY_FILE, reports.download_file),
    _Endpoint("GET", _AGREEMENT, Operation.AGREEMENT, reports.show_agreement),
    _Endpoint("PUT", _AGREEMENT, Operation.AGREEMENT_SAVE, reports.save_agreement),
    _Endpoint(
        "GET",
        f"{_AGREEMENT}/timestamp",
        Operation.AGREEMENT_TIMESTAMP,
        reports.download_timestamp,
    ),
    _Endpoint(
        "POST", f"{_BRAND}/via-hash-links", Operation.OPT_OUT_LINKS, opt_out_links.create_links
    ),
)
_PLACES = (
    _Endpoint("GET", "/info/city", Operation.CITIES, places.list_cities),
    _Endpoint("GET", "/info/city/{code}", Operation.CITY, places.show_city),
    _Endpoint("GET", "/info/town", Operation.TOWNS, places.list_towns),
    _Endpoint("GET", "/info/town/{code}", Operation.TOWN, places.show_town),
)


def api_routes(gateway: Gateway) -> Iterator[Route]:
    """Yield the routes of İYS's API, behind `gateway`."""
    issue_token = gateway.open(Operation.TOKEN, access_token.issue_token)
    yield Route("/oauth2/token", issue_token, methods=["POST"])
    groups = (_ADD, _QUERIES, _PROVIDERS, _PUSHES, _RETAILERS, _REPORTS, _PLACES)
    for method, path, operation, handler in (one for group in groups for one in group):
        yield Route(path, gateway.authenticated(operation, handler), methods=[method])
    yield from via.via_routes(gateway)
    yield from not_simulated.not_simulated_routes(gateway)
