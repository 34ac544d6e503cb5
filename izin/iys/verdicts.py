"""What İYS's answers mean to us: a table from H-code to verdict (reference section 5.1).

An outcome is read from the H-code and never from the HTTP status: "busy" (H123) comes as 400, "too
late" (H467) as 400 or 422, "no such retailer" (H180) as 403. A code that is not in the table is
``UNKNOWN``, which nobody may take for a final word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Verdict(StrEnum):
    """What an answer means; in order of weight, the weightiest first."""

    TOKEN = "token"  # noqa: S105 - a verdict, no secret
    """The access token is missing or spent: renew it once, repeat once."""
    TOKEN_SILENCE = "token-silence"  # noqa: S105 - a verdict, no secret
    """Too many token calls: a call within the hour starts the hour anew."""
    THROTTLE = "throttle"
    """Too many calls this second."""
    HOURLY = "hourly"
    """Too many queries of this kind this hour."""
    TRANSIENT = "transient"
    """İYS could not; the same call may succeed later."""
    CONFIGURATION = "configuration"
    """Account, subscription or connection: an operator acts, and no call of the account helps."""
    RIGHTS = "rights"
    """No right to do this for this brand, type or retailer: an operator acts."""
    QUOTA = "quota"
    """No room for new addresses; opt-outs of known ones still pass."""
    UNKNOWN = "unknown"
    """A code that is not in the table."""
    DATA = "data"
    """The record or request breaks a rule, and will until it is corrected."""
    EXPIRED = "expired"
    """The consent is older than three business days; only a new one helps."""
    ALREADY = "already"
    """İYS's register stands otherwise or further: read it back and compare."""
    SUCCESS = "success"


_CODES: dict[Verdict, str] = {
    Verdict.TOKEN: "H351",
    Verdict.TOKEN_SILENCE: "H084",
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
"""What each code of İYS's core API means to us."""

_FIELD_FAULTS = (
    "H110 H111 H112 H113 H114 H115 H116 H117 H118 H119 H120 H121 H122 H126 H155 H156 H157 H158 "
    "H160 H162 H163 H194 H267 H408"
)
FIELD_FAULTS = frozenset(_FIELD_FAULTS.split())
"""What İYS finds wrong in the fields of an addition without looking at its register: all of it is
found here before a call, so each one that İYS finds is a fault of ours."""

# Rights that a record claims, not the caller: without that record the rest may pass.
_OF_A_RECORD = frozenset({"H180"})


def classify(code: str) -> Verdict:
    """Return what ``code`` means; UNKNOWN if the table does not name it."""
    return VERDICTS.get(code, Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One entry of İYS's envelope ``{"errors": [...]}``: which item, which field, which rule.

    ``value`` is the offending value as İYS echoes it, often a recipient: kept out of ``repr``.
    """

    code: str
    message: str = field(repr=False)
    location: tuple[str | int, ...] = ()
    index: int | None = None
    value: object = field(default=None, repr=False)

    @property
    def verdict(self) -> Verdict:
        """What this entry means."""
        return classify(self.code)

    @property
    def is_of_a_record(self) -> bool:
        """Whether the record itself is at fault, so that others may pass without it."""
        match self.verdict:
            case Verdict.DATA | Verdict.EXPIRED | Verdict.ALREADY:
                return True
            case _:
                return self.code in _OF_A_RECORD


def weightiest(refusals: Iterable[Refusal]) -> Verdict:
    """Return the verdict that decides for the whole call; UNKNOWN of none."""
    found = {refusal.verdict for refusal in refusals}
    return next((verdict for verdict in Verdict if verdict in found), Verdict.UNKNOWN)
