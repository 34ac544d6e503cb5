"""What İYS's answers mean, and the errors of calls: the type shows who has to act, ``retry_after``
when.

The H-code decides (reference section 5.1), never the HTTP status: "busy" (H123) comes as 400, "too
late" (H467) as 400 or 422, "no such retailer" (H180) as 403. A code that is not in the table is
``UNKNOWN``, which is never final.

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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from structlog.stdlib import BoundLogger

from izin.consent import IysError

_FIELD_FAULTS = (
    "H110 H111 H112 H113 H114 H115 H116 H117 H118 H119 H120 H121 H122 H126 H155 H156 H157 H158 "
    "H160 H162 H163 H194 H267 H408"
)
FIELD_FAULTS = frozenset(_FIELD_FAULTS.split())
"""What İYS refuses in the fields of an item without looking at its register. All of it is checked
here before a call, so each one that İYS reports is a fault of ours."""
# Rights that concern one record: without it the rest may be accepted.
_OF_A_RECORD = frozenset({"H180"})
_CORRECTED_WITHIN = timedelta(minutes=15)


class Verdict(StrEnum):
    """What an answer means; of several in one answer, the first in this order decides."""

    TOKEN = "token"  # noqa: S105 - a verdict, no secret
    """The access token is missing or expired: renew it and repeat the call, once."""
    TOKEN_LIMIT = "token-limit"  # noqa: S105 - a verdict, no secret
    """Too many token requests: one more within the hour starts the hour again."""
    THROTTLE = "throttle"
    """Too many calls this second."""
    HOURLY = "hourly"
    """Too many queries of this kind this hour."""
    TRANSIENT = "transient"
    """İYS could not process the call; the same call may succeed later."""
    CONFIGURATION = "configuration"
    """Account, subscription or connection: an operator acts; every call of the account fails."""
    RIGHTS = "rights"
    """No right for this brand, channel or retailer: an operator acts."""
    QUOTA = "quota"
    """No quota for new recipients; opt-outs of known ones are still accepted."""
    UNKNOWN = "unknown"
    """A code that is not in the table."""
    DATA = "data"
    """The record or request breaks a rule until it is corrected."""
    EXPIRED = "expired"
    """The consent is older than three business days; only a new one helps."""
    ALREADY = "already"
    """The register already holds this, or something newer: query the status and compare."""
    SUCCESS = "success"


_CODES: dict[Verdict, str] = {
    Verdict.TOKEN: "H351 H1038 H1045",
    Verdict.TOKEN_LIMIT: "H084",
    Verdict.THROTTLE: "H083 H124",
    Verdict.HOURLY: "H086 H089",
    Verdict.TRANSIENT: (
        "H015 H060 H061 H062 H082 H100 H101 H102 H103 H105 H106 H107 H123 H179 H181 H192 H195 H196 "
        "H241 H412 H470 H476"
    ),
    Verdict.CONFIGURATION: (
        "H001 H018 H031 H067 H093 H129 H190 H191 H245 H250 H251 H252 H268 H437 H520 H521 H524 "
        "H530 H531 H586"
    ),
    Verdict.RIGHTS: "H176 H180 H353 H355 H363 H522",
    Verdict.QUOTA: "H525",
    Verdict.DATA: (
        "H014 H016 H017 H058 H085 H090 H091 H092 H095 H097 H098 H110 H111 H112 H113 H114 H115 H116 "
        "H117 H118 H119 H120 H121 H122 H125 H126 H127 H155 H156 H157 H158 H160 H162 H163 H164 H166 "
        "H168 H169 H170 H171 H172 H173 H182 H183 H184 H185 H186 H187 H193 H194 H197 H198 H199 H201 "
        "H214 H215 H216 H217 H218 H219 H220 H221 H222 H224 H225 H226 H227 H228 H229 H230 H231 H243 "
        "H244 H253 H266 H267 H288 H400 H401 H402 H403 H404 H405 H408 H450 H452 H453 H454 H455 H456 "
        "H459 H460 H462 H463 H464 H465 H478 H486 H501 H502 H506 H507 H512 H568"
    ),
    Verdict.EXPIRED: "H467",
    Verdict.ALREADY: "H174 H175 H178",
}

VERDICTS: Mapping[str, Verdict] = MappingProxyType(
    {code: verdict for verdict, codes in _CODES.items() for code in codes.split()}
)
"""The verdict of each code of İYS's core API."""


def classify(code: str) -> Verdict:
    """Return the verdict of ``code``; UNKNOWN if it is not in the table."""
    return VERDICTS.get(code, Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One entry of İYS's envelope ``{"errors": [...]}``: which item, which rule.

    ``value`` is the offending value as İYS echoes it, often a recipient: not part of ``repr``.
    """

    code: str
    message: str = field(repr=False)
    index: int | None = None
    value: object = field(default=None, repr=False)

    @property
    def verdict(self) -> Verdict:
        """The verdict of this entry."""
        return classify(self.code)

    @property
    def is_of_a_record(self) -> bool:
        """Whether only this record is at fault, so that the others may be accepted without it."""
        of_a_record = {Verdict.DATA, Verdict.EXPIRED, Verdict.ALREADY}
        return self.verdict in of_a_record or self.code in _OF_A_RECORD


def decisive_verdict(refusals: Iterable[Refusal]) -> Verdict:
    """Return the verdict that decides for the whole call; UNKNOWN of none."""
    found = {refusal.verdict for refusal in refusals}
    return next((verdict for verdict in Verdict if verdict in found), Verdict.UNKNOWN)


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
