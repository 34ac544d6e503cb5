"""What a check of the doctor found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """How a check ended."""

    OK = "ok"
    WRONG = "wrong"
    FIXED = "fixed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found, with the remedy."""

    check: str
    state: CheckState
    what: str


def ok(check: str, what: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, state=CheckState.OK, what=what)


def wrong(check: str, what: str) -> Finding:
    """Return what is wrong, with the remedy."""
    return Finding(check=check, state=CheckState.WRONG, what=what)


def fixed(check: str, what: str) -> Finding:
    """Return what was corrected."""
    return Finding(check=check, state=CheckState.FIXED, what=what)


def skipped(check: str, what: str) -> Finding:
    """Return why the check was not made."""
    return Finding(check=check, state=CheckState.SKIPPED, what=what)
