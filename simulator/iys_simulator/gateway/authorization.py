"""Authorization of a call: its token, the codes in its path, and the subscriptions behind them."""

from starlette.requests import Request

from iys_simulator.errors.messages import REFUSALS
from iys_simulator.errors.responses import RefusedError, error, refused
from iys_simulator.faults import Operation
from iys_simulator.gateway.auth_errors import MISSPELT, PLACE_LISTS, authentication_error
from iys_simulator.gateway.call import Call, client_of
from iys_simulator.gateway.permissions import check_subscription, forbidden
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account, Brand

_NO_BRAND = Brand(code=0, iys_code=0, name="")


def authorize(state: SimulatorState, operation: Operation, request: Request, body: bytes) -> Call:
    """Return the call with its account and brand.

    Raises:
        RefusedError: the token, a code in the path, or a subscription does not allow the call.
    """
    header = request.headers.get("authorization")
    account = state.tokens.account_of(header, state.clock.seconds())
    if account is None:
        raise authentication_error(operation, header)
    if "integratorCode" in request.path_params:
        _check_partner(operation, account, _number(request, "integratorCode", "H190"))
    brand = _brand_of(state, operation, request, account)
    _check_subscriptions(state, operation, request, account)
    return Call(
        request=request,
        body=body,
        client=client_of(request),
        account=account,
        brand=brand,
        settings=state.settings,
    )


def _brand_of(
    state: SimulatorState, operation: Operation, request: Request, account: Account
) -> Brand:
    if "iysCode" not in request.path_params:
        return _NO_BRAND
    directory = state.directory
    key = state.settings.forbidden_spelling if operation in MISSPELT else "code"
    iys_code = _number(request, "iysCode", "H190")
    if not directory.may_see(account, iys_code):
        raise forbidden("iysCode", key=key)
    if "brandCode" not in request.path_params:
        return _NO_BRAND
    brand = directory.brand_for(account, iys_code, _number(request, "brandCode", "H191"))
    if brand is None:
        raise forbidden("brandCode", key=key)
    return brand


def _check_partner(operation: Operation, account: Account, code: int) -> None:
    if not account.is_integrator:
        raise refused("H522" if operation is Operation.PARTNER_SUBSCRIPTION else "H363")
    if code == account.iys_code:
        return
    if operation is Operation.PARTNER_SUBSCRIPTION:
        text = REFUSALS["H437"].message.format(iysCode=code)
        raise refused("H437", message=text)
    raise forbidden("integratorIysCode")


def _check_subscriptions(
    state: SimulatorState, operation: Operation, request: Request, account: Account
) -> None:
    if operation in PLACE_LISTS:
        return
    if account.is_integrator:
        is_own = operation is Operation.PARTNER_SUBSCRIPTION
        check_subscription(
            state.directory, account.iys_code, is_subscription_query=is_own, owner="Entegratör"
        )
    if "iysCode" in request.path_params and operation is not Operation.PARTNER_PROVIDER:
        is_own = operation is Operation.SUBSCRIPTION
        iys_code = _number(request, "iysCode", "H190")
        check_subscription(state.directory, iys_code, is_subscription_query=is_own)


def _number(request: Request, name: str, code: str) -> int:
    text = str(request.path_params[name])
    if text.isascii() and text.isdecimal():
        return int(text)
    if code == "H191":  # the code's other message is the one of push
        raise RefusedError(422, [error(code, message="brandCode integer bir değer olmalıdır.")])
    raise refused(code)
