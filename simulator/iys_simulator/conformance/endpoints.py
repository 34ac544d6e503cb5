"""The endpoints of İYS's consent domain, as its description 3.2.0 writes them."""

from typing import Final

from iys_simulator.conformance.case import Endpoint

_PROVIDER: Final = "/sps/{iysCode}"
_BRAND: Final = _PROVIDER + "/brands/{brandCode}"
_ACCESS: Final = _BRAND + "/consents/retailers/access"
_DAY: Final = _BRAND + "/changes/{reportDate}"
_PARTNER: Final = "/integrator/{integratorCode}"


def _endpoint(method: str, path: str, fault_name: str) -> Endpoint:
    return Endpoint(method=method, path=path, fault_name=fault_name)


TOKEN: Final = _endpoint("POST", "/oauth2/token", "token")
BRANDS: Final = _endpoint("GET", _PROVIDER + "/brands", "brands")
SUBSCRIPTION: Final = _endpoint("GET", _PROVIDER + "/subscription", "subscription")
PARTNER_BRANDS: Final = _endpoint("GET", _PARTNER + "/sps", "partnerBrands")
PARTNER_PROVIDER: Final = _endpoint("GET", _PARTNER + "/sps/{iysCode}", "partnerProvider")
PARTNER_SUBSCRIPTION: Final = _endpoint("GET", _PARTNER + "/subscription", "partnerSubscription")

ADD: Final = _endpoint("POST", _BRAND + "/consents", "add")
ADD_V2: Final = _endpoint("POST", "/v2" + _BRAND + "/consents", "addV2")
BATCH: Final = _endpoint("POST", _BRAND + "/consents/request", "batch")
BATCH_V2: Final = _endpoint("POST", "/v2" + _BRAND + "/consents/request", "batchV2")
RESULT: Final = _endpoint("GET", _BRAND + "/consents/request/{requestId}", "result")
RESULT_V2: Final = _endpoint("GET", "/v2" + _BRAND + "/consents/request/{requestId}", "resultV2")

STATUS: Final = _endpoint("POST", _BRAND + "/consents/status", "status")
STATUSES: Final = _endpoint("POST", _BRAND + "/consents/{recipientType}/status/{type}", "statuses")
HISTORY: Final = _endpoint("POST", _BRAND + "/consents/history", "history")
CHANGES: Final = _endpoint("GET", _BRAND + "/consents/changes", "changes")

PUSH_REGISTER: Final = _endpoint("POST", _BRAND + "/push/registration", "pushRegister")
PUSH_LIST: Final = _endpoint("GET", _BRAND + "/push/registration", "pushList")
PUSH_UNREGISTER: Final = _endpoint("POST", _BRAND + "/push/unregistration", "pushUnregister")

RETAILER_ADD: Final = _endpoint("POST", _BRAND + "/retailers", "retailerAdd")
RETAILER_LIST: Final = _endpoint("GET", _BRAND + "/retailers", "retailerList")
RETAILER_GET: Final = _endpoint("GET", _BRAND + "/retailers/{retailerCode}", "retailerGet")
RETAILER_DELETE: Final = _endpoint("DELETE", _BRAND + "/retailers/{retailerCode}", "retailerDelete")

ACCESS_ADD: Final = _endpoint("POST", _ACCESS, "accessAdd")
ACCESS_REPLACE: Final = _endpoint("PUT", _ACCESS, "accessReplace")
ACCESS_LIST: Final = _endpoint("POST", _BRAND + "/consent/retailers/access/list", "accessList")
ACCESS_REMOVE: Final = _endpoint("POST", _ACCESS + "/remove", "accessRemove")
ACCESS_REMOVE_ALL: Final = _endpoint("POST", _ACCESS + "/remove/all", "accessRemoveAll")

DAY_STATISTICS: Final = _endpoint("GET", _DAY + "/recipients/{recipientType}", "dayStatistics")
DAY_FILE: Final = _endpoint("GET", _DAY + "/file", "dayFile")
AGREEMENT: Final = _endpoint("GET", _BRAND + "/agreements/{reportDate}", "agreement")
AGREEMENT_SAVE: Final = _endpoint("PUT", _BRAND + "/agreements/{reportDate}", "agreementSave")
AGREEMENT_TIMESTAMP: Final = _endpoint(
    "GET", _BRAND + "/agreements/{reportDate}/timestamp", "agreementTimestamp"
)

OPT_OUT_LINKS: Final = _endpoint("POST", _BRAND + "/via-hash-links", "optOutLinks")
CITIES: Final = _endpoint("GET", "/info/city", "cities")
CITY: Final = _endpoint("GET", "/info/city/{code}", "city")
TOWNS: Final = _endpoint("GET", "/info/town", "towns")
TOWN: Final = _endpoint("GET", "/info/town/{code}", "town")

ALL: Final = (
    TOKEN,
    *(BRANDS, SUBSCRIPTION, PARTNER_BRANDS, PARTNER_PROVIDER, PARTNER_SUBSCRIPTION),
    *(ADD, ADD_V2, BATCH, BATCH_V2, RESULT, RESULT_V2),
    *(STATUS, STATUSES, HISTORY, CHANGES),
    *(PUSH_REGISTER, PUSH_LIST, PUSH_UNREGISTER),
    *(RETAILER_ADD, RETAILER_LIST, RETAILER_GET, RETAILER_DELETE),
    *(ACCESS_ADD, ACCESS_REPLACE, ACCESS_LIST, ACCESS_REMOVE, ACCESS_REMOVE_ALL),
    *(DAY_STATISTICS, DAY_FILE, AGREEMENT, AGREEMENT_SAVE, AGREEMENT_TIMESTAMP),
    *(OPT_OUT_LINKS, CITIES, CITY, TOWNS, TOWN),
)
