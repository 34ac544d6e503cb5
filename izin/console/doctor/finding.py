"""What a check of the doctor is, what it finds, and how checks run one after the other.

None fails because of what it finds. A check that depends on another is skipped where that one
failed: a part that is away is reported once, and waited for once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import psycopg
from pydantic import ValidationError
from pydantic_settings import SettingsError

from izin.consent.errors import IzinError
from izin.runtime.start_errors import wrong_settings


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check, how to correct what it finds, and which others must have passed before it."""

    name: str
    run: Callable[[], Iterable[Finding]]
    fix: Callable[[bool], Iterable[Finding]] | None = None
    """Corrects what can be corrected, given whether a person says that no worker runs; it runs
    before the check, where it is asked for."""
    needs: frozenset[str] = frozenset()


def findings(checks: Sequence[Check], *, fix: bool, stopped: bool = False) -> Iterator[Finding]:
    """Yield what ``checks`` find, in their order, each as it comes; ``stopped``: a person says that
    no worker runs.
    """
    failed: dict[str, frozenset[str]] = {}
    for check in checks:
        causes = frozenset().union(*(failed.get(one, frozenset()) for one in check.needs))
        if causes:
            failed[check.name] = causes
            yield skipped(check.name, f"not checked; first correct: {', '.join(sorted(causes))}")
            continue
        for one in _caught(check, fix=fix, stopped=stopped):
            if one.state in {CheckState.WRONG, CheckState.SKIPPED}:
                failed[one.check] = frozenset({one.check})
            yield one


def _caught(check: Check, *, fix: bool, stopped: bool) -> Iterator[Finding]:
    """Yield what ``check`` finds; an error that keeps it from looking is a finding too."""
    name = check.name
    try:
        if fix and check.fix is not None:
            yield from check.fix(stopped)
        yield from check.run()
    except ValidationError as error:
        kinds = {one["type"] for one in error.errors()}
        made = skipped if kinds == {"missing"} else wrong
        yield made(name, wrong_settings(error))
    except (SettingsError, IzinError) as error:
        yield wrong(name, str(error))
    except psycopg.Error as error:
        # Its text may have the password.
        kind = type(error).__name__
        yield wrong(name, f"{kind}; is PostgreSQL running, and is DATABASE_URL right?")
    except TimeoutError:
        yield wrong(name, "no answer in time; what keeps the server from answering?")
    except Exception as error:  # noqa: BLE001  # whatever it is, the other checks are still to be made
        yield wrong(
            name,
            f"{type(error).__name__}, which is unexpected; are the settings right that it reads "
            "(docs/settings.md)?",
        )
