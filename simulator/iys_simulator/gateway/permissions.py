"""Permissions: which account may call for which provider and brand, under which subscription.

A path that names another provider, or a brand that is neither the account's own nor granted to it,
is refused with H353. A subscription refuses by its state: CLOSED every call (H521), PAUSED and
EXPIRED all but the query of the subscription itself (H520), none at all (H524), and one whose
package does not include the API (H586).
"""

from collections.abc import Iterable

from iys_simulator.errors.messages import FORBIDDEN_MISSPELT, REFUSALS
from iys_simulator.errors.responses import RefusedError, refused
from iys_simulator.rules.consent import CHANNELS
from iys_simulator.store.accounts import Brand, Directory, SubscriptionState


def check_subscription(
    directory: Directory, iys_code: int, *, is_subscription_query: bool, owner: str = "HS"
) -> None:
    """Raise the refusal that the state of the subscription of `iys_code` requires.

    `owner` is whose subscription it is, in the words of H520: HS or Entegratör.

    Raises:
        RefusedError: H437, H520, H521, H524 or H586.
    """
    subscription = directory.subscriptions.get(iys_code)
    state = subscription.state if subscription else SubscriptionState.NONE
    match state:
        case SubscriptionState.NONE:
            code = "H437" if is_subscription_query else "H524"
            text = REFUSALS[code].message.format(iysCode=iys_code)
            raise refused(code, message=text)
        case SubscriptionState.CLOSED:
            raise refused("H521")
        case SubscriptionState.PAUSED | SubscriptionState.EXPIRED:
            if not is_subscription_query:
                text = REFUSALS["H520"].message.format(state=state.value, who=owner)
                raise refused("H520", message=text)
        case SubscriptionState.ACTIVE:
            pass
    if subscription and not subscription.includes_api:
        raise refused("H586")


def check_rights(brand: Brand, channels: Iterable[object], *, to_write: bool, field: str) -> None:
    """Raise H353 on `field` where a right for one of `channels` is missing.

    Raises:
        RefusedError: H353.
    """
    allowed = brand.may_write if to_write else brand.may_read
    for channel in set(channels):
        if isinstance(channel, str) and channel in CHANNELS and not allowed(channel):
            raise forbidden(field)


def forbidden(field: str, *, key: str = "code") -> RefusedError:
    """Return H353 on `field`; with `key="code:"` in the misspelt form of İYS's older endpoints."""
    if key == "code":
        text = REFUSALS["H353"].message.format(field=field)
        return refused("H353", message=text)
    text = FORBIDDEN_MISSPELT.format(field=field)
    return RefusedError(403, [{key: "H353", "message": text}])
