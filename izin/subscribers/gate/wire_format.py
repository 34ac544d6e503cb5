"""What the gate is asked, and what it answers.

The names are those of the request. The answer is read strictly: one that is not what was
asked for is none.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Required, TypedDict

from izin.consent import Channel, MessageClass, RecipientType, maker
from izin.consent.may_send import PermissionReason
from izin.schemas.may_send_api import ReceiptKind
from izin.subscribers.errors import GateUnavailableError

_UNREADABLE = "unreadable answer"
_REASONS = {one.value: one for one in PermissionReason}  # calling the enumeration takes longer


class Question(TypedDict, total=False):
    """What is asked about each recipient."""

    brand_code: Required[int]
    type: Required[Channel | str]
    """The channel of the message."""
    recipient_type: RecipientType | str | None
    """BIREYSEL, a private person, where it is left out."""
    message_class: MessageClass | str | None
    """A commercial message where it is left out."""
    basis: str | None
    """What an exempt class rests on, such as the number of an order."""
    campaign: str | None
    """Your own name of the campaign."""
    retailer_code: int | None
    """The retailer that sends."""
    receipt: ReceiptKind | str | None
    """What the gate is to write down; for an exempt class it does so anyway."""
    at_least: str | None
    """A token of the intake, of the publisher or of an earlier answer: the answer must know what
    was written up to there, else it is no."""


def checked(question: Question) -> Question:
    """Return ``question``; raises TypeError where a word of it is unknown or missing, as a call
    with such an argument would.
    """
    known = Question.__required_keys__ | Question.__optional_keys__
    if unknown := question.keys() - known:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
    if missing := Question.__required_keys__ - question.keys():
        raise TypeError(f"missing arguments: {', '.join(sorted(missing))}")
    return question


def text_of(recipient: str) -> str:
    """Return ``recipient``; raises TypeError where it is no text, without quoting it."""
    if not isinstance(recipient, str):
        raise TypeError(
            f"a recipient is of type {type(recipient).__name__}; give each as a text, such as "
            "'0555 000 00 01'"
        )
    return recipient


def request_of(question: Question, recipients: Sequence[str]) -> bytes:
    """Return the request that asks ``question`` about ``recipients``, as JSON."""
    given = {name: value for name, value in question.items() if value is not None}
    return json.dumps({**given, "recipients": recipients}).encode()


def sendable(recipients: Sequence[str]) -> Sequence[str]:
    """Return ``recipients`` as JSON can carry them: half characters, which no address has, are
    question marks.
    """
    try:
        "".join(recipients).encode()
    except UnicodeEncodeError:
        return [recipient.encode(errors="replace").decode() for recipient in recipients]
    return recipients


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """Whether the message may be sent to one recipient, and why."""

    recipient: str = field(repr=False)
    """As it was asked about."""
    may_send: bool
    reason: PermissionReason | str
    """A text only where a later release has a new reason."""
    violation: str | None = None
    """The code of what is wrong with a recipient that is no valid address."""
    receipt: str | None = None
    """The id of the receipt, which all recipients of one request share."""
    as_of: str | None = None
    """The consistency token of what the gate knew: give it as ``at_least`` to ask again later."""
    cause: str | None = None
    """Why the gate gave no answer. Then ``may_send`` is false, and the reason ``stale``."""


_made = maker(GateVerdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateAnswer:
    """The answer to one request: verdicts in the order of its recipients."""

    verdicts: tuple[GateVerdict, ...] = field(repr=False)
    receipt: str | None
    as_of: str | None
    cause: str | None = None
    """Why there was no answer; see :class:`GateVerdict`."""


def closed(recipients: Sequence[str], cause: str) -> GateAnswer:
    """Return the answer where the gate gave none: no to each of ``recipients``."""
    verdicts = (
        GateVerdict(recipient=recipient, may_send=False, reason=PermissionReason.STALE, cause=cause)
        for recipient in recipients
    )
    return GateAnswer(verdicts=tuple(verdicts), receipt=None, as_of=None, cause=cause)


def answer_of(body: bytes, recipients: Sequence[str], sent: Sequence[str]) -> GateAnswer:
    """Return the answer about ``recipients``, asked about as they were ``sent``, that ``body`` is.

    Raises:
        GateUnavailableError: it is something else, or about others.
    """
    try:
        found = json.loads(body)
        receipt, as_of = _text(found["receipt"]), _text(found["as_of"])
        verdicts = tuple(
            _verdict(one, echo, recipient, receipt, as_of)
            for one, echo, recipient in zip(found["verdicts"], sent, recipients, strict=True)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        # Without the error's text, which may quote a recipient.
        raise GateUnavailableError(_UNREADABLE, is_final=True) from None
    return GateAnswer(verdicts=verdicts, receipt=receipt, as_of=as_of)


def _verdict(
    one: dict[str, Any], echo: str, recipient: str, receipt: str | None, as_of: str | None
) -> GateVerdict:
    may_send, reason = one["may_send"], one["reason"]
    if one["recipient"] != echo or not isinstance(may_send, bool):
        raise ValueError(_UNREADABLE)
    return _made(
        recipient=recipient,
        may_send=may_send,
        reason=_REASONS.get(_required(reason), reason),
        violation=_text(one.get("violation")),
        receipt=receipt,
        as_of=as_of,
    )


def _required(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(_UNREADABLE)
    return value


def _text(value: object) -> str | None:
    return None if value is None else _required(value)
