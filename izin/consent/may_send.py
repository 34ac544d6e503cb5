"""May a message go out? A commercial one only where İYS holds a consent: 6563 m.6/1, Yön. m.5/3.

It fails closed. A yes needs İYS's own statement of an ONAY that we have verified, that is fresh,
and that is newer than the latest RET known to us; what we merely *want* registered is no
permission. A desired RET is a no at once, whatever İYS shows.

Merchants and tradesmen (TACIR) need no prior consent (6563 m.6/2), but their rejection binds
(m.6/6): for them NONE, proved by a dated statement, is a yes too. NOT_ONAY is no proof of NONE,
for it may hide a RET.

A rejection concerns commercial messages. Information that promotes nothing may go out whatever is
registered or desired, and İYS need not be asked (m.6/5): see
:mod:`izin.consent.message_classes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from izin.consent.making import maker
from izin.consent.message_classes import CLASSES, MessageClass, MessageKind
from izin.consent.model import RecipientType, Status
from izin.consent.obligation import Registered

if TYPE_CHECKING:
    from datetime import datetime

    from izin.consent.obligation import RegisteredState


class PermissionReason(StrEnum):
    """Why a message may, or may not, go out."""

    REGISTERED_ONAY = "registered-onay"
    TACIR_WITHOUT_RECORD = "tacir-without-record"
    EXEMPT = "exempt"
    """Not a commercial message: it needs no consent, and no rejection reaches it."""
    DESIRED_RET = "desired-ret"
    REGISTERED_RET = "registered-ret"
    NOT_REGISTERED = "not-registered"
    NOT_VERIFIED = "not-verified"
    STALE = "stale"
    NOT_NEWER_THAN_RET = "not-newer-than-ret"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether the message may go out, and why."""

    may_send: bool
    reason: PermissionReason


_answer = maker(Answer)


def may_send(  # noqa: PLR0911, PLR0913 - a way out a reason; each argument is a fact the answer hangs on
    *,
    recipient_type: RecipientType,
    desired: Status | None,
    latest_ret_at: datetime | None,
    registered: RegisteredState,
    verified: bool,
    fresh: bool = True,
    message_class: MessageClass = MessageClass.COMMERCIAL,
) -> Answer:
    """Return whether a message of ``message_class`` may go out to a key.

    ``verified``: the registered state is İYS's own statement, read back or observed, not merely
    an answer awaited. ``fresh``: it was confirmed within the bound that the asker keeps.
    """
    if CLASSES[message_class].kind is MessageKind.EXEMPT:
        return _answer(may_send=True, reason=PermissionReason.EXEMPT)
    if desired is Status.RET:
        return _no(PermissionReason.DESIRED_RET)
    match registered.value:
        case Registered.RET:
            return _no(PermissionReason.REGISTERED_RET)
        case Registered.ONAY:
            yes = PermissionReason.REGISTERED_ONAY
        case Registered.NONE if recipient_type is RecipientType.TACIR:
            yes = PermissionReason.TACIR_WITHOUT_RECORD
        case Registered.NONE | Registered.NOT_ONAY | Registered.UNKNOWN:
            return _no(PermissionReason.NOT_REGISTERED)
        case _:
            assert_never(registered.value)
    if not verified or (registered.value is Registered.NONE and registered.creation_date is None):
        return _no(PermissionReason.NOT_VERIFIED)
    if not fresh:
        return _no(PermissionReason.STALE)
    if latest_ret_at is not None and not _is_newer(registered, latest_ret_at):
        return _no(PermissionReason.NOT_NEWER_THAN_RET)
    return _answer(may_send=True, reason=yes)


def _is_newer(registered: RegisteredState, latest_ret_at: datetime) -> bool:
    """Whether the registered ONAY was given after the latest RET; a shared second is not after."""
    given_at = registered.stated_at
    return registered.value is Registered.ONAY and given_at is not None and given_at > latest_ret_at


def _no(reason: PermissionReason) -> Answer:
    return _answer(may_send=False, reason=reason)
