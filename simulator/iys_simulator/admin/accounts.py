"""Accounts and brands of the admin API."""

from starlette.requests import Request
from starlette.responses import Response

from iys_simulator.admin.request_body import InvalidBodyError, RequestBody, as_object, read_body
from iys_simulator.errors.responses import json_response
from iys_simulator.rules.consent import CHANNELS
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import (
    Account,
    Brand,
    Grant,
    Right,
    Subscription,
    SubscriptionState,
)


class AccountsAdmin:
    """The admin endpoints that add accounts and brands."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def add_account(self, request: Request) -> Response:
        """Add an account with the subscription of its service provider, or change what it names."""
        body = self._account_body(await read_body(request))
        account = Account(
            username=body.text("username"),
            password=body.text("password"),
            iys_code=body.whole("iysCode"),
            role=body.text("role", "API_USER"),
            is_integrator=body.flag("isIntegrator", default=False),
        )
        states = tuple(SubscriptionState)
        subscription = Subscription(
            iys_code=account.iys_code,
            state=SubscriptionState(body.one_of("subscription", states, SubscriptionState.ACTIVE)),
            includes_api=body.flag("includesApi", default=True),
            via_credit=body.optional_whole("viaCredit"),
            via_pass_credit=body.optional_whole("viaPassCredit"),
        )
        self._state.directory.add_account(account, subscription)
        return json_response({"username": account.username, "iysCode": account.iys_code}, 201)

    async def add_brand(self, request: Request) -> Response:
        """Add a brand, or change what the body names of it."""
        body = await read_body(request)
        known = self._state.directory.brands.get(body.whole("brandCode"))
        brand = _brand(body.over(_brand_row(known) if known else {}))
        self._state.directory.add_brand(brand)
        return json_response(_brand_row(brand), 201)

    def _account_body(self, body: RequestBody) -> RequestBody:
        directory = self._state.directory
        account = directory.accounts.get(body.text("username"))
        subscription = directory.subscriptions.get(body.whole("iysCode"))
        known: dict[str, object] = {}
        if account is not None:
            known |= {"role": account.role, "isIntegrator": account.is_integrator}
        if subscription is not None:
            known |= {
                "subscription": subscription.state,
                "includesApi": subscription.includes_api,
                "viaCredit": subscription.via_credit,
                "viaPassCredit": subscription.via_pass_credit,
            }
        return body.over(known)


def _brand(body: RequestBody) -> Brand:
    retailers = body.fields.get("retailers", [])
    if not isinstance(retailers, list) or not all(isinstance(code, int) for code in retailers):
        raise InvalidBodyError("retailers: a list of codes")
    grants = body.fields.get("grants", [])
    if not isinstance(grants, list):
        raise InvalidBodyError("grants: a list")
    return Brand(
        code=body.whole("brandCode"),
        iys_code=body.whole("iysCode"),
        name=body.text("name", "Marka"),
        title=body.optional_text("title") or "",
        activated_at=body.optional_text("activatedAt"),
        consent_limit=body.optional_whole("consentLimit"),
        rights=_rights(body),
        retailers=frozenset(retailers),
        grants=tuple(_grant(RequestBody(fields=as_object(grant))) for grant in grants),
    )


def _rights(body: RequestBody) -> dict[str, Right]:
    rights = body.fields.get("rights", dict.fromkeys(CHANNELS, Right.WRITE.value))
    if not isinstance(rights, dict) or not set(rights) <= set(CHANNELS):
        raise InvalidBodyError("rights: {ARAMA|MESAJ|EPOSTA: write|read}")
    if not all(right in tuple(Right) for right in rights.values()):
        raise InvalidBodyError("rights: write or read")
    return {channel: Right(right) for channel, right in rights.items()}


def _grant(body: RequestBody) -> Grant:
    return Grant(
        integrator_code=body.whole("integratorCode"),
        rights=_rights(body),
        agreement_control=body.flag("agreementControl", default=True),
        via_control=body.flag("viaControl", default=False),
    )


def _brand_row(brand: Brand) -> dict[str, object]:
    return {
        "brandCode": brand.code,
        "iysCode": brand.iys_code,
        "name": brand.name,
        "title": brand.title or None,
        "activatedAt": brand.activated_at,
        "consentLimit": brand.consent_limit,
        "rights": brand.rights,
        "retailers": sorted(brand.retailers),
        "grants": [_grant_row(grant) for grant in brand.grants],
    }


def _grant_row(grant: Grant) -> dict[str, object]:
    return {
        "integratorCode": grant.integrator_code,
        "rights": grant.rights,
        "agreementControl": grant.agreement_control,
        "viaControl": grant.via_control,
    }
