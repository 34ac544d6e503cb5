"""The İYS branch of the one tree of errors: the type says who may act, ``retry_after`` says when.

IysError                        (izin.consent.errors)
└── CallError                   a call to İYS did not succeed
    ├── ThrottledError          too many calls this second or hour: time heals it
    ├── TokenSilenceError       no token may be asked for now: time heals it
    ├── BusyError               İYS could not, and did nothing: time heals it
    ├── WithheldError           kept back when its turn came: nothing was sent
    ├── OutcomeUnknownError     sent, and no answer came: ask İYS before saying it again
    ├── RefusedError            the record or request breaks a rule: its source acts
    ├── MisconfiguredError      rights, subscription, address: an operator acts
    ├── UnauthenticatedError    İYS does not take our credentials: an operator acts
    └── UnreadableError         İYS answered what we cannot read: an operator acts

No message holds a value that İYS echoed, for such values are recipients.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from izin.consent.errors import IysError
from izin.iys.verdicts import weightiest

if TYPE_CHECKING:
    from datetime import timedelta

    from izin.iys.verdicts import Refusal, Verdict


class Actor(StrEnum):
    """Who can mend it."""

    TIME = "time"
    """Nobody: the same call may succeed after ``retry_after``."""
    US = "us"
    """The caller: ask İYS what came of it, then decide."""
    SOURCE = "source"
    """Whoever gave the record."""
    OPERATOR = "operator"
    """A person at this installation or in İYS's portal."""


class CallError(IysError):
    """A call to İYS did not succeed.

    ``retry_after`` is how long İYS wants to be left alone; None if it did not say. ``refusals`` are
    the entries of its answer, none if there was no answer.
    """

    who_acts: ClassVar[Actor]

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        refusals: tuple[Refusal, ...] = (),
    ) -> None:
        codes = ", ".join(dict.fromkeys(refusal.code for refusal in refusals))
        super().__init__(f"{message}: {codes}" if codes else message)
        self.retry_after = retry_after
        self.refusals = refusals

    @property
    def passes(self) -> bool:
        """Whether the same call may succeed though no person has mended anything: what cannot be
        read may be a proxy's, too.
        """
        return self.who_acts in {Actor.TIME, Actor.US} or isinstance(self, UnreadableError)

    @property
    def verdict(self) -> Verdict:
        """The weightiest verdict of the refusals; UNKNOWN if there are none."""
        return weightiest(self.refusals)


class ThrottledError(CallError):
    """Too many calls this second (H124, H083) or queries this hour (H086, H089)."""

    who_acts = Actor.TIME


class TokenSilenceError(CallError):
    """No token may be asked for now: İYS said H084, or our own budget is spent."""

    who_acts = Actor.TIME


class BusyError(CallError):
    """İYS could not, or was not reached; nothing was done, and later it may be."""

    who_acts = Actor.TIME


class WithheldError(CallError):
    """The caller no longer permitted the call when its turn to leave came: nothing was sent."""

    who_acts = Actor.US


class OutcomeUnknownError(CallError):
    """A writing call was sent and no readable answer came: it may have taken effect.

    Never resend blindly; only an identical body by a V2 method is safe.
    """

    who_acts = Actor.US


class RefusedError(CallError):
    """İYS refused the record or request for what it says, or for want of room (QUOTA).

    In a batch nothing was taken; entries with an ``index`` name the items to take out.
    """

    who_acts = Actor.SOURCE


class MisconfiguredError(CallError):
    """Rights, subscription, quota of calls or address are not as this call needs them."""

    who_acts = Actor.OPERATOR


class UnauthenticatedError(CallError):
    """İYS takes neither our token nor our credentials."""

    who_acts = Actor.OPERATOR


class UnreadableError(CallError):
    """İYS answered, and what it said cannot be read."""

    who_acts = Actor.OPERATOR
