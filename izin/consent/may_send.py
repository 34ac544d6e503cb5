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

    EXEMPT = "exempt"
    """Not a commercial message: it needs no consent, and no opt-out applies to it."""
    OPTED_OUT = "opted-out"
    """The recipient opted out, here or at İYS, and no later consent is known."""
    STALE = "stale"
    """What İYS holds was not confirmed for too long."""
    REGISTERED = "registered"
    """İYS holds a consent: the message may be sent."""
    AWAITING_IYS = "awaiting-iys"
    """A consent was collected, but İYS does not hold it yet."""
    VOID = "void"
    """A consent was collected, but it expired before it was registered, or İYS refused it."""
    REGISTER_FIRST = "register-first"
    """A merchant whom İYS does not have: no consent is needed, but the registration is."""
    NOT_REGISTERED = "not-registered"
    """İYS holds no consent, and none was collected."""


class CollectedConsent(StrEnum):
    """What became of an ONAY that one of our systems collected, and that is still desired."""

    NONE = "none"
    """There is none."""
    PENDING = "pending"
    """It is to be registered."""
    VOID = "void"
    """It expired, or İYS refused it."""


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
    collected: CollectedConsent = CollectedConsent.NONE,
    message_class: MessageClass = MessageClass.COMMERCIAL,
) -> Permission:
    """Return whether a message of ``message_class`` may be sent to a key: the first case that
    applies, in the order of ``PermissionReason``.

    ``verified``: İYS itself reported the registered state, in a query or a movement. ``fresh``: it
    was confirmed within the caller's bound.
    """
    if CLASSES[message_class].kind is MessageKind.EXEMPT:
        return Permission(may_send=True, reason=PermissionReason.EXEMPT)
    is_registered = registered.value is Registered.ONAY
    if desired is Status.RET or registered.value is Registered.RET:
        return _denied(PermissionReason.OPTED_OUT)
    if is_registered and latest_ret_at is not None and not _is_newer(registered, latest_ret_at):
        return _denied(PermissionReason.OPTED_OUT)
    if not fresh:
        return _denied(PermissionReason.STALE)
    if is_registered and verified:
        return Permission(may_send=True, reason=PermissionReason.REGISTERED)
    match collected:
        case CollectedConsent.PENDING:
            return _denied(PermissionReason.AWAITING_IYS)
        case CollectedConsent.VOID:
            return _denied(PermissionReason.VOID)
        case CollectedConsent.NONE:
            pass
        case never:
            assert_never(never)
    if registered.value is Registered.NONE and recipient_type is RecipientType.TACIR:
        return _denied(PermissionReason.REGISTER_FIRST)
    return _denied(PermissionReason.NOT_REGISTERED)


def _is_newer(registered: RegisteredState, latest_ret_at: datetime) -> bool:
    """Whether the registered ONAY was given after the latest RET; the same second is not after."""
    given_at = registered.stated_at
    return given_at is not None and given_at > latest_ret_at


def _denied(reason: PermissionReason) -> Permission:
    return Permission(may_send=False, reason=reason)
