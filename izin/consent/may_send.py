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

The answer has two halves. :func:`may_send` is what the ledger knows of a key, and is published;
:func:`verdict` adds what only holds at the moment when somebody asks.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from izin.consent.enums import TextEnum
from izin.consent.message_classes import CLASSES, MessageClass, MessageKind
from izin.consent.model import RecipientType, Status
from izin.consent.next_action import Registered, RegisteredState


class PermissionReason(TextEnum):
    """Why a message may, or may not, be sent."""

    EXEMPT = "exempt"
    """Not a commercial message: it needs no consent, and no opt-out applies to it."""
    OPTED_OUT = "opted-out"
    """The recipient opted out, here or at İYS, and no later consent is known."""
    UNKNOWN = "unknown"
    """The brand is not one of the caller's."""
    STALE = "stale"
    """What İYS holds was not confirmed for too long."""
    SUSPENDED = "suspended"
    """An operator has stopped the messages of the brand."""
    RETAILER_NOT_COVERED = "retailer-not-covered"
    """A retailer asks to whom the consent gives no access."""
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


def may_send(  # noqa: PLR0913  # one argument a fact
    *,
    recipient_type: RecipientType,
    desired: Status | None,
    latest_ret_at: datetime | None,
    registered: RegisteredState,
    verified: bool,
    collected: CollectedConsent = CollectedConsent.NONE,
) -> Permission:
    """Return whether a commercial message may be sent to a key, by what the ledger knows of it: the
    first case that applies, in the order of ``PermissionReason``.

    ``verified``: İYS itself reported the registered state, in a query or an entry.
    """
    is_registered = registered.value is Registered.ONAY
    if desired is Status.RET or registered.value is Registered.RET:
        return _denied(PermissionReason.OPTED_OUT)
    if is_registered and not registered.is_after(latest_ret_at):
        return _denied(PermissionReason.OPTED_OUT)
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
    return _denied(unregistered(recipient_type, registered.value))


def unregistered(
    recipient_type: RecipientType, registered: Registered = Registered.NONE
) -> PermissionReason:
    """Return the reason where no consent is known, here or at İYS."""
    if registered is Registered.NONE and recipient_type is RecipientType.TACIR:
        return PermissionReason.REGISTER_FIRST
    return PermissionReason.NOT_REGISTERED


def verdict(  # noqa: PLR0913  # one argument a fact
    published: PermissionReason,
    *,
    message_class: MessageClass = MessageClass.COMMERCIAL,
    opted_out: bool,
    known: bool,
    current: bool,
    suspended: bool,
    covered: bool = True,
    needs_registration: bool = True,
) -> Permission:
    """Return whether a message of ``message_class`` may be sent now to a key of which the ledger
    says ``published``: the first case that applies, in the order of ``PermissionReason``.

    ``opted_out``: there is an opt-out beside what the ledger knows: one that is not decided yet, or
    that the address gave under the other recipient type. ``known``: the brand is the caller's.
    ``current``: our state and İYS's data are fresh enough. ``covered``: who asks is no retailer, or
    one whom the consent gives access. ``needs_registration``: a merchant must stand in İYS first.
    """
    if CLASSES[message_class].kind is MessageKind.EXEMPT:
        return Permission(may_send=True, reason=PermissionReason.EXEMPT)
    for holds, reason in (
        (opted_out or published is PermissionReason.OPTED_OUT, PermissionReason.OPTED_OUT),
        (not known, PermissionReason.UNKNOWN),
        (not current, PermissionReason.STALE),
        (suspended, PermissionReason.SUSPENDED),
        (not covered, PermissionReason.RETAILER_NOT_COVERED),
    ):
        if holds:
            return _denied(reason)
    is_free = published is PermissionReason.REGISTER_FIRST and not needs_registration
    return Permission(
        may_send=is_free or published is PermissionReason.REGISTERED, reason=published
    )


def _denied(reason: PermissionReason) -> Permission:
    return Permission(may_send=False, reason=reason)
