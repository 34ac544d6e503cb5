"""What the gate is asked: one set of words for every way of asking, and the request made of it."""

import json
from collections.abc import Sequence
from typing import Required, TypedDict

from izin.consent.message_classes import MessageClass
from izin.consent.model import Channel, RecipientType
from izin.schemas.may_send_api import ReceiptKind

_WIRE_NAMES = {"channel": "type"}
"""Of the words that are called otherwise in a request."""


class Question(TypedDict, total=False):
    """What is asked about each recipient."""

    brand_code: Required[int]
    channel: Required[Channel | str]
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
    given = {
        _WIRE_NAMES.get(name, name): value for name, value in question.items() if value is not None
    }
    return json.dumps({**given, "recipients": recipients}).encode()


def sendable(recipients: Sequence[str]) -> Sequence[str]:
    """Return ``recipients`` as JSON can carry them: half characters, which no address has, are
    question marks.
    """
    try:
        "".join(recipients).encode()
    except UnicodeEncodeError:
        return [one.encode(errors="replace").decode() for one in recipients]
    return recipients
