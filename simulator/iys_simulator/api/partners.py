"""Business partners (iş ortağı): which brands granted them what, and their subscription.

İYS gives codes as texts in the list of all brands and as numbers in that of one provider; per type
the right is `write` or `read`, and a type without a right is absent. Sandboxes have no such lists;
the switch `environment` takes them away.
"""

from collections.abc import Sequence

from starlette.responses import Response

from iys_simulator.api.brands import SUBSCRIPTION_END, SUBSCRIPTION_START
from iys_simulator.api.paging import paging_of
from iys_simulator.errors.responses import json_answer, refused
from iys_simulator.gateway.gateway import Call
from iys_simulator.state import Twin
from iys_simulator.store.accounts import Brand, Grant


async def list_granted(twin: Twin, call: Call) -> Response:
    """`GET /integrator/{integratorCode}/sps`: every brand granted, codes as texts."""
    granted = twin.directory.granted_brands(call.account.iys_code)
    return _listed(twin, call, granted, as_text=True)


async def list_granted_by(twin: Twin, call: Call) -> Response:
    """`GET /integrator/{integratorCode}/sps/{iysCode}`: those of one provider, codes as numbers."""
    iys_code = int(call.request.path_params["iysCode"])
    granted = [
        (brand, grant)
        for brand, grant in twin.directory.granted_brands(call.account.iys_code)
        if brand.iys_code == iys_code
    ]
    return _listed(twin, call, granted, as_text=False)


async def subscription(twin: Twin, call: Call) -> Response:
    """`GET /integrator/{integratorCode}/subscription`: the partner's own."""
    iys_code = call.account.iys_code
    found = twin.directory.subscriptions[iys_code]
    return json_answer(
        {
            "startDate": SUBSCRIPTION_START,
            "expirationDate": SUBSCRIPTION_END,
            "subscriptionPackageName": "IO - API Kullanım Lisansı",
            twin.settings.subscription_key: f"subscription-{iys_code}",
            "status": found.state.value,
            "iysCode": iys_code,
        }
    )


def _listed(
    twin: Twin, call: Call, granted: Sequence[tuple[Brand, Grant]], *, as_text: bool
) -> Response:
    if twin.settings.environment == "sandbox":
        raise refused("H363")
    paging = paging_of(call.request.query_params, twin.settings, is_swapped=True)
    page = [
        _told(brand, grant, is_master=twin.directory.is_master(brand), as_text=as_text)
        for brand, grant in paging.of(granted)
    ]
    pagination = {"offset": paging.offset, "totalCount": len(granted), "pageSize": len(page)}
    return json_answer({"pagination": pagination, "list": page})


def _told(brand: Brand, grant: Grant, *, is_master: bool, as_text: bool) -> dict[str, object]:
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
