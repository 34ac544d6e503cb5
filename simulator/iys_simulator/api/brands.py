"""A service provider's brands and its subscription."""

from starlette.responses import Response

from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Subscription

# What İYS's example shows for a subscription without a limit.
_UNLIMITED = 250_001
SUBSCRIPTION_START = "2020-01-01 00:00:00"
SUBSCRIPTION_END = "2099-12-31 23:59:59"


async def list_brands(state: SimulatorState, call: Call) -> Response:
    """List brands with their counts: `GET /sps/{iysCode}/brands`.

    A partner sees those granted to it.

    Raises:
        RefusedError: H001, where the provider has none.
    """
    iys_code = int(call.request.path_params["iysCode"])
    found = state.directory.brands_of(iys_code)
    if not found:
        raise refused("H001", message=REFUSALS["H001"].message.format(iysCode=iys_code))
    rows = []
    for position, brand in enumerate(found):
        if call.account.is_integrator and brand.grant_to(call.account.iys_code) is None:
            continue
        register = state.register_of(brand.code)
        consents = {
            "approval": register.approvals,
            "rejection": register.size - register.approvals,
            "total": register.size,
        }
        retailers = {"total": state.retailers.count(brand)}
        rows.append(
            {
                "brandCode": brand.code,
                "stats": {"consents": consents, "retailers": retailers},
                "name": brand.name,
                "master": position == 0,
            }
        )
    return json_response(rows)


async def show_subscription(state: SimulatorState, call: Call) -> Response:
    """Return state and quota of the subscription: `GET /sps/{iysCode}/subscription`.

    The quota is the sum of the brands' limits. A partner sees neither it nor the ViA credits.
    """
    iys_code = int(call.request.path_params["iysCode"])
    found = state.directory.subscriptions[iys_code]
    response: dict[str, object] = {
        state.settings.subscription_key: f"subscription-{iys_code}",
        "startDate": SUBSCRIPTION_START,
        "expirationDate": SUBSCRIPTION_END,
        "subscriptionPackageName": "İleti+",
        "status": found.state.value,
    }
    if not call.account.is_integrator:
        response |= _quota(state, iys_code)
    for kind, credit in (("via", found.via_credit), ("viaPass", found.via_pass_credit)):
        if credit is not None:
            response[f"{kind}SubscriptionPackage"] = _package(call, found, kind, credit)
    return json_response(response)


def _quota(state: SimulatorState, iys_code: int) -> dict[str, object]:
    found = state.directory.brands_of(iys_code)
    limits = [brand.consent_limit for brand in found]
    limited = [limit for limit in limits if limit is not None]
    is_limited = bool(limits) and len(limited) == len(limits)
    return {
        "consentLimit": sum(limited) if is_limited else _UNLIMITED,
        "consentLimitExceed": not is_limited,
        "usedConsentLimit": sum(state.register_of(brand.code).used_limit for brand in found),
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
