"""Business partners (iş ortağı): the brands granted to them, and their subscription.

İYS writes codes as texts in the list of all brands and as numbers in that of one provider. The
right of a type is `write` or `read`; a type without a right is absent. A sandbox has no such lists
(switch `environment`).
"""

from collections.abc import Sequence

from starlette.responses import Response

from iys_simulator.api.brands import SUBSCRIPTION_END, SUBSCRIPTION_START
from iys_simulator.api.paging import paging_of
from iys_simulator.errors.responses import json_response, refused
from iys_simulator.gateway.call import Call
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Brand, Grant


async def list_granted(state: SimulatorState, call: Call) -> Response:
    """List every granted brand, codes as texts: `GET /integrator/{integratorCode}/sps`.

    Raises:
        RefusedError: H363 in a sandbox, or a code of `paging_of`.
    """
    granted = state.directory.granted_brands(call.account.iys_code)
    return _listed(state, call, granted, as_text=True)


async def list_granted_by(state: SimulatorState, call: Call) -> Response:
    """List one provider's brands, codes as numbers: `GET /integrator/…/sps/{iysCode}`.

    Raises:
        RefusedError: H363 in a sandbox, or a code of `paging_of`.
    """
    iys_code = int(call.request.path_params["iysCode"])
    granted = [
        (brand, grant)
        for brand, grant in state.directory.granted_brands(call.account.iys_code)
        if brand.iys_code == iys_code
    ]
    return _listed(state, call, granted, as_text=False)


async def show_partner_subscription(state: SimulatorState, call: Call) -> Response:
    """Return the partner's own subscription: `GET /integrator/{integratorCode}/subscription`."""
    iys_code = call.account.iys_code
    found = state.directory.subscriptions[iys_code]
    return json_response(
        {
            "startDate": SUBSCRIPTION_START,
            "expirationDate": SUBSCRIPTION_END,
            "subscriptionPackageName": "IO - API Kullanım Lisansı",
            state.settings.subscription_key: f"subscription-{iys_code}",
            "status": found.state.value,
            "iysCode": iys_code,
        }
    )


def _listed(
    state: SimulatorState, call: Call, granted: Sequence[tuple[Brand, Grant]], *, as_text: bool
) -> Response:
    if state.settings.environment == "sandbox":
        raise refused("H363")
    paging = paging_of(call.request.query_params, state.settings, is_swapped=True)
    page = [
        _brand_row(brand, grant, is_master=state.directory.is_master(brand), as_text=as_text)
        for brand, grant in paging.of(granted)
    ]
    pagination = {"offset": paging.offset, "totalCount": len(granted), "pageSize": len(page)}
    return json_response({"pagination": pagination, "list": page})


def _brand_row(brand: Brand, grant: Grant, *, is_master: bool, as_text: bool) -> dict[str, object]:
    return {
        "brandCode": str(brand.code) if as_text else brand.code,
        "name": brand.name,
        "master": is_master,
        "title": brand.title or brand.name,
        "iysCode": str(brand.iys_code) if as_text else brand.iys_code,
        "agreementControl": grant.agreement_control,
        **{channel: right.value for channel, right in grant.rights.items()},
        "viaControl": grant.via_control,
    }
