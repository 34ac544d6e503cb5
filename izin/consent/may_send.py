"""Whether a message may be sent: a commercial one only where İYS holds a consent (6563 m.6/1,
Yönetmelik m.5/3).

The check fails closed. Permission requires an ONAY registered at İYS that we have verified, that is
fresh, and that is newer than the latest RET known to us; what we only *want* registered permits
nothing. A desired RET denies at once, whatever İYS shows.

Merchants (TACIR) need no prior consent (6563 m.6/2), but their opt-out binds, and the address must
stand in İYS so that a refusal can be checked before sending: one that İYS does not have is to be
registered first.

An opt-out concerns commercial messages. Information that promotes nothing may be sent whatever is
registered or desired, without querying İYS (m.6/5): see :mod:`izin.consent.message_classes`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from izin.consent.message_classes import CLASSES, MessageClass, MessageKind
from izin.consent.model import RecipientType, Status
from izin.consent.next_action import Registered, RegisteredState


class PermissionReason(StrEnum):
    """Why a message may, or may not, be sent."""

    REGISTERED_ONAY = "registered-onay"
    REGISTER_FIRST = "register-first"
    """A merchant whom İYS does not have: no consent is needed, but the registration is."""
    EXEMPT = "exempt"
    """Not a commercial message: it needs no consent, and no opt-out applies to it."""
    DESIRED_RET = "desired-ret"
    REGISTERED_RET = "registered-ret"
    NOT_REGISTERED = "not-registered"
    NOT_VERIFIED = "not-verified"
    STALE = "stale"
    NOT_NEWER_THAN_RET = "not-newer-than-ret"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether a message may be sent, and why."""

    may_send: bool
    reason: PermissionReason


def may_send(  # noqa: PLR0911, PLR0913 - one return a reason, one argument a fact
    *,
    recipient_type: RecipientType,
    desired: Status | None,
    latest_ret_at: datetime | None,
    registered: RegisteredState,
    verified: bool,
    fresh: bool = True,
    message_class: MessageClass = MessageClass.COMMERCIAL,
) -> Permission:
    """Return whether a message of ``message_class`` may be sent to a key.

    ``verified``: İYS itself reported the registered state, in a query or a movement. ``fresh``: it
    was confirmed within the caller's bound.
    """
    if CLASSES[message_class].kind is MessageKind.EXEMPT:
        return Permission(may_send=True, reason=PermissionReason.EXEMPT)
    if desired is Status.RET:
        return _denied(PermissionReason.DESIRED_RET)
    match registered.value:
        case Registered.RET:
            return _denied(PermissionReason.REGISTERED_RET)
        case Registered.ONAY:
            pass
        case Registered.NONE if recipient_type is RecipientType.TACIR:
            return _denied(PermissionReason.REGISTER_FIRST)
        case Registered.NONE | Registered.NOT_ONAY | Registered.UNKNOWN:
            return _denied(PermissionReason.NOT_REGISTERED)
        case _:
            assert_never(registered.value)
    if not verified:
        return _denied(PermissionReason.NOT_VERIFIED)
    if not fresh:
        return _denied(PermissionReason.STALE)
    if latest_ret_at is not None and not _is_newer(registered, latest_ret_at):
        return _denied(PermissionReason.NOT_NEWER_THAN_RET)
    return Permission(may_send=True, reason=PermissionReason.REGISTERED_ONAY)


def _is_newer(registered: RegisteredState, latest_ret_at: datetime) -> bool:
    """Whether the registered ONAY was given after the latest RET; the same second is not after."""
    given_at = registered.stated_at
    return given_at is not None and given_at > latest_ret_at


def _denied(reason: PermissionReason) -> Permission:
    return Permission(may_send=False, reason=reason)
