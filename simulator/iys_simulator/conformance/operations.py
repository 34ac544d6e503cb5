"""The operations of İYS's consent domain, as its description 3.2.0 writes them."""

from typing import Final

from iys_simulator.conformance.case import Operation

_SP: Final = "/sps/{iysCode}"
_BRAND: Final = _SP + "/brands/{brandCode}"
_ACCESS: Final = _BRAND + "/consents/retailers/access"
_DAY: Final = _BRAND + "/changes/{reportDate}"
_PARTNER: Final = "/integrator/{integratorCode}"


def _operation(method: str, path: str, weather: str) -> Operation:
    return Operation(method=method, path=path, weather=weather)


TOKEN: Final = _operation("POST", "/oauth2/token", "token")
BRANDS: Final = _operation("GET", _SP + "/brands", "brands")
SUBSCRIPTION: Final = _operation("GET", _SP + "/subscription", "subscription")
PARTNER_BRANDS: Final = _operation("GET", _PARTNER + "/sps", "partnerBrands")
PARTNER_PROVIDER: Final = _operation("GET", _PARTNER + "/sps/{iysCode}", "partnerProvider")
PARTNER_SUBSCRIPTION: Final = _operation("GET", _PARTNER + "/subscription", "partnerSubscription")

ADD: Final = _operation("POST", _BRAND + "/consents", "add")
ADD_V2: Final = _operation("POST", "/v2" + _BRAND + "/consents", "addV2")
BATCH: Final = _operation("POST", _BRAND + "/consents/request", "batch")
BATCH_V2: Final = _operation("POST", "/v2" + _BRAND + "/consents/request", "batchV2")
RESULT: Final = _operation("GET", _BRAND + "/consents/request/{requestId}", "result")
RESULT_V2: Final = _operation("GET", "/v2" + _BRAND + "/consents/request/{requestId}", "resultV2")

STATUS: Final = _operation("POST", _BRAND + "/consents/status", "status")
STATUSES: Final = _operation("POST", _BRAND + "/consents/{recipientType}/status/{type}", "statuses")
HISTORY: Final = _operation("POST", _BRAND + "/consents/history", "history")
CHANGES: Final = _operation("GET", _BRAND + "/consents/changes", "changes")

PUSH_REGISTER: Final = _operation("POST", _BRAND + "/push/registration", "pushRegister")
PUSH_LIST: Final = _operation("GET", _BRAND + "/push/registration", "pushList")
PUSH_UNREGISTER: Final = _operation("POST", _BRAND + "/push/unregistration", "pushUnregister")

RETAILER_ADD: Final = _operation("POST", _BRAND + "/retailers", "retailerAdd")
RETAILER_LIST: Final = _operation("GET", _BRAND + "/retailers", "retailerList")
RETAILER_GET: Final = _operation("GET", _BRAND + "/retailers/{retailerCode}", "retailerGet")
RETAILER_DELETE: Final = _operation(
    "DELETE", _BRAND + "/retailers/{retailerCode}", "retailerDelete"
)

ACCESS_ADD: Final = _operation("POST", _ACCESS, "accessAdd")
ACCESS_REPLACE: Final = _operation("PUT", _ACCESS, "accessReplace")
ACCESS_LIST: Final = _operation("POST", _BRAND + "/consent/retailers/access/list", "accessList")
ACCESS_REMOVE: Final = _operation("POST", _ACCESS + "/remove", "accessRemove")
ACCESS_REMOVE_ALL: Final = _operation("POST", _ACCESS + "/remove/all", "accessRemoveAll")

DAY_STATISTICS: Final = _operation("GET", _DAY + "/recipients/{recipientType}", "dayStatistics")
DAY_FILE: Final = _operation("GET", _DAY + "/file", "dayFile")
AGREEMENT: Final = _operation("GET", _BRAND + "/agreements/{reportDate}", "agreement")
AGREEMENT_SAVE: Final = _operation("PUT", _BRAND + "/agreements/{reportDate}", "agreementSave")
AGREEMENT_TIMESTAMP: Final = _operation(
    "GET", _BRAND + "/agreements/{reportDate}/timestamp", "agreementTimestamp"
)

REJECT_LINKS: Final = _operation("POST", _BRAND + "/via-hash-links", "rejectLinks")
CITIES: Final = _operation("GET", "/info/city", "cities")
CITY: Final = _operation("GET", "/info/city/{code}", "city")
TOWNS: Final = _operation("GET", "/info/town", "towns")
TOWN: Final = _operation("GET", "/info/town/{code}", "town")

ALL: Final = (
    TOKEN,
    *(BRANDS, SUBSCRIPTION, PARTNER_BRANDS, PARTNER_PROVIDER, PARTNER_SUBSCRIPTION),
    *(ADD, ADD_V2, BATCH, BATCH_V2, RESULT, RESULT_V2),
    *(STATUS, STATUSES, HISTORY, CHANGES),
    *(PUSH_REGISTER, PUSH_LIST, PUSH_UNREGISTER),
    *(RETAILER_ADD, RETAILER_LIST, RETAILER_GET, RETAILER_DELETE),
    *(ACCESS_ADD, ACCESS_REPLACE, ACCESS_LIST, ACCESS_REMOVE, ACCESS_REMOVE_ALL),
    *(DAY_STATISTICS, DAY_FILE, AGREEMENT, AGREEMENT_SAVE, AGREEMENT_TIMESTAMP),
    *(REJECT_LINKS, CITIES, CITY, TOWNS, TOWN),
)
