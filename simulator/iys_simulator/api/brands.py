"""The service provider's own methods: token, brands, subscription, push connections."""

from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response

from iys_simulator.errors.messages import LIMIT_IN_SECTION, NOT_REMOVED, REFUSALS
from iys_simulator.errors.responses import RefusedError, error, json_answer, refused
from iys_simulator.gateway.gateway import Call, client_of
from iys_simulator.state import Twin
from iys_simulator.store.accounts import CHANNELS, Subscription
from iys_simulator.store.push_connections import (
    NOT_REGISTERED,
    REGISTERED,
    Connection,
    connection_errors,
)

# What İYS's example shows for a subscription without a limit that binds.
_UNLIMITED = 250_001
SUBSCRIPTION_START = "2020-01-01 00:00:00"
SUBSCRIPTION_END = "2099-12-31 23:59:59"


async def token(twin: Twin, request: Request, body: bytes) -> Response:
    """`POST /oauth2/token`, as JSON or as a form; H084 where the hour is used up."""
    settings, now = twin.settings, twin.clock.seconds()
    form = _form(request, body)
    is_renewal = form.get("grant_type") == "refresh_token"
    counts = settings.refresh_counts or not is_renewal
    limit, client = settings.token_limit, client_of(request)
    if counts and not twin.limits.tokens.admits(client, now, limit, settings.hour):
        text = LIMIT_IN_SECTION if settings.h084_text == "section" else None
        is_flat = settings.h084_shape == "flat"
        raise RefusedError(429, [error("H084", message=text)], is_flat=is_flat)
    return json_answer(twin.tokens.answer(form, now, settings))


def _form(request: Request, body: bytes) -> dict[str, object]:
    """Read the fields; a body that has none is a request without a grant, refused as such."""
    if "json" not in request.headers.get("content-type", ""):
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    try:
        form = orjson.loads(body)
    except ValueError:
        form = None
    return form if isinstance(form, dict) else {}


async def brands(twin: Twin, call: Call) -> Response:
    """`GET /sps/{iysCode}/brands`: the brands with their counts; a partner sees those granted."""
    iys_code = int(call.request.path_params["iysCode"])
    found = twin.directory.brands_of(iys_code)
    if not found:
        raise refused("H001", message=REFUSALS["H001"].message.format(iysCode=iys_code))
    answer = []
    for position, brand in enumerate(found):
        if call.account.is_integrator and brand.grant_to(call.account.iys_code) is None:
            continue
        register = twin.register_of(brand.code)
        consents = {
            "approval": register.approvals,
            "rejection": register.size - register.approvals,
            "total": register.size,
        }
        retailers = {"total": twin.retailers.count(brand)}
        answer.append(
            {
                "brandCode": brand.code,
                "stats": {"consents": consents, "retailers": retailers},
                "name": brand.name,
                "master": position == 0,
            }
        )
    return json_answer(answer)


async def subscription(twin: Twin, call: Call) -> Response:
    """`GET /sps/{iysCode}/subscription`: state and quota, the brands' limits added up.

    A partner sees neither the quota nor what is left of ViA.
    """
    iys_code = int(call.request.path_params["iysCode"])
    found = twin.directory.subscriptions[iys_code]
    answer: dict[str, object] = {
        twin.settings.subscription_key: f"subscription-{iys_code}",
        "startDate": SUBSCRIPTION_START,
        "expirationDate": SUBSCRIPTION_END,
        "subscriptionPackageName": "İleti+",
        "status": found.state.value,
    }
    if not call.account.is_integrator:
        answer |= _quota(twin, iys_code)
    for kind, credit in (("via", found.via_credit), ("viaPass", found.via_pass_credit)):
        if credit is not None:
            answer[f"{kind}SubscriptionPackage"] = _package(call, found, kind, credit)
    return json_answer(answer)


def _quota(twin: Twin, iys_code: int) -> dict[str, object]:
    found = twin.directory.brands_of(iys_code)
    limits = [brand.consent_limit for brand in found]
    bound = [limit for limit in limits if limit is not None]
    is_bound = bool(limits) and len(bound) == len(limits)
    return {
        "consentLimit": sum(bound) if is_bound else _UNLIMITED,
        "consentLimitExceed": not is_bound,
        "usedConsentLimit": sum(twin.register_of(brand.code).used_limit for brand in found),
    }


def _package(call: Call, found: Subscription, kind: str, credit: int) -> dict[str, object]:
    package: dict[str, object] = {
        "startDate": SUBSCRIPTION_START,
        "expirationDate": SUBSCRIPTION_END,
        f"{kind}SubscriptionId": f"{kind}-{found.iys_code}",
        f"{kind}SubscriptionPackageName": "ViA-5" if kind == "via" else "ViA PASS-5",
        "status": found.state.value,
    }
    if not call.account.is_integrator:
        package[f"{kind}Credit"] = credit
    return package


async def register_push(twin: Twin, call: Call) -> Response:
    """`POST …/push/registration`: prove each address, then deliver to it from now on."""
    body = call.json()
    entries = body.get("connection") if isinstance(body, dict) else None
    if not isinstance(entries, list) or not entries:
        raise refused("H014")
    connections = [_connection(twin, call, entry) for entry in entries]
    for connection in connections:
        try:
            if twin.push.is_taken(connection):
                raise refused("H530")
            await twin.push.prove(connection)
        except RefusedError:
            twin.push.note(connection, stands=False, register_time=twin.now_text())
            raise
        twin.push.note(connection, stands=True, register_time=twin.now_text())
    return json_answer({"message": "Bağlantı oluşturuldu"})


async def list_push(twin: Twin, call: Call) -> Response:
    """`GET …/push/registration`: all connections and whether they stand."""
    return json_answer(
        [
            {
                "url": registration.connection.url,
                "type": registration.connection.type,
                "registerTime": registration.register_time,
                "status": REGISTERED if registration.stands else NOT_REGISTERED,
            }
            for registration in twin.push.registrations_of(call.brand.code)
        ]
    )


async def unregister_push(twin: Twin, call: Call) -> Response:
    """`POST …/push/unregistration`: deliver no more to one address."""
    if not twin.push.remove(_connection(twin, call, call.json())):
        raise refused("H530", message=NOT_REMOVED)
    return json_answer({"message": "Bağlantı Kaldırıldı"})


def _connection(twin: Twin, call: Call, entry: object) -> Connection:
    if not isinstance(entry, dict):
        raise refused("H014")
    errors = connection_errors(entry, CHANNELS, https=twin.settings.push_https_required)
    if errors:
        raise RefusedError(422, errors)
    return Connection(
        brand_code=call.brand.code,
        iys_code=call.brand.iys_code,
        url=str(entry["url"]),
        type=str(entry["type"]),
        username=str(entry["username"]),
        password=str(entry["password"]),
    )
