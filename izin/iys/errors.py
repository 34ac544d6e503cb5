"""The errors of calls to İYS: the type shows who has to act, ``retry_after`` when.

IysError                        (izin.consent.errors)
└── CallError                   a call to İYS did not succeed
    ├── ThrottledError          too many calls this second or hour: wait
    ├── TokenLimitError         no token may be requested now: wait
    ├── BusyError               İYS could not, and did nothing: wait
    ├── WithheldError           withheld by the caller when its slot came: nothing was sent
    ├── OutcomeUnknownError     sent, and not answered: query İYS before sending it again
    ├── RefusedError            the record or request breaks a rule: its source acts
    ├── MisconfiguredError      rights, subscription, address: an operator acts
    ├── UnauthenticatedError    İYS refuses our credentials: an operator acts
    └── UnreadableError         the response cannot be read: an operator acts

No message contains a value that İYS echoed: such values are recipients.
"""

from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from structlog.stdlib import BoundLogger

from izin.consent.errors import IysError
from izin.iys.verdicts import Refusal, Verdict, decisive_verdict

_CORRECTED_WITHIN = timedelta(minutes=15)


class Actor(StrEnum):
    """Who has to act."""

    TIME = "time"
    """Nobody: the same call may succeed after ``retry_after``."""
    US = "us"
    """The caller: query İYS for the outcome, then decide."""
    SOURCE = "source"
    """Whoever supplied the record."""
    OPERATOR = "operator"
    """A person at this installation or in İYS's portal."""


class CallError(IysError):
    """A call to İYS did not succeed.

    ``retry_after`` is how long to wait; None if İYS did not send it. ``refusals`` are the entries
    of its error envelope, empty without an answer.
    """

    who_acts: ClassVar[Actor]
    is_repeated = False
    """Whether it says only what was known: the circuit is open, or İYS answers nothing at all."""

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
    def is_transient(self) -> bool:
        """Whether the same call may succeed without anybody acting: an unreadable response may be a
        proxy's, too.
        """
        return self.who_acts in {Actor.TIME, Actor.US} or isinstance(self, UnreadableError)

    def warn(self, log: BoundLogger, event: str, /, **fields: object) -> None:
        """Log it as a warning; where it says only what was known, which is an event of its own, no
        more than a line for whoever looks for faults.
        """
        write = log.debug if self.is_repeated else log.warning
        write(event, error=str(self), **fields)

    def pause(self, wait: timedelta) -> timedelta:
        """Return how long not to repeat the call: as İYS says, else ``wait``; after an error that a
        person must correct at least a quarter of an hour, for each failed call counts against our
        address.
        """
        wait = self.retry_after or wait
        return wait if self.is_transient else max(wait, _CORRECTED_WITHIN)

    @property
    def verdict(self) -> Verdict:
        """The verdict that decides for the whole call; UNKNOWN if there are no refusals."""
        return decisive_verdict(self.refusals)


class ThrottledError(CallError):
    """Too many calls this second (H124, H083) or queries this hour (H086, H089)."""

    who_acts = Actor.TIME


class TokenLimitError(CallError):
    """No token may be requested now: İYS answered H084, or our own limit is reached."""

    who_acts = Actor.TIME


class BusyError(CallError):
    """İYS could not process the call, or was not reached; it had no effect."""

    who_acts = Actor.TIME


class WithheldError(CallError):
    """The caller no longer permitted the call when its slot came: nothing was sent."""

    who_acts = Actor.US


class OutcomeUnknownError(CallError):
    """A writing call was sent and got no readable answer: it may have taken effect.

    Never resend blindly; only an identical body to a V2 method is safe.
    """

    who_acts = Actor.US


class RefusedError(CallError):
    """İYS refused the record or request for its content, or for lack of quota.

    Of a batch nothing was accepted; entries with an ``index`` name the items to remove.
    """

    who_acts = Actor.SOURCE


class MisconfiguredError(CallError):
    """Rights, subscription, call quota or address do not allow this call."""

    who_acts = Actor.OPERATOR


class UnauthenticatedError(CallError):
    """İYS refuses our token and our credentials."""

    who_acts = Actor.OPERATOR


class UnreadableError(CallError):
    """İYS answered, and the response cannot be read."""

    who_acts = Actor.OPERATOR
